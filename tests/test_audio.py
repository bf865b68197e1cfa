"""Audio written piece by piece and read back."""

from __future__ import annotations

import array
import io
import math
import subprocess
import sys
import tempfile
import tracemalloc

import pytest
import soundfile

from daemon import audio
from daemon.audio import Audio

RATE = 24_000


def tone(seconds, hertz=440):
    steps = range(round(seconds * RATE))
    return array.array("h", (round(8000 * math.sin(2 * math.pi * hertz * at / RATE)) for at in steps)).tobytes()


def written(format_, pieces, rate=RATE):
    """The seconds told and the file, at its start."""
    file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - the caller reads it
    seconds = audio.write(file, format_, rate, pieces)
    file.seek(0)
    return seconds, file


@pytest.mark.parametrize(
    ("format_", "kind", "subtype"),
    [("wav", "WAV", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS"), ("mp3", "MP3", "MPEG_LAYER_III")],
)
def test_every_format_is_read_back_as_what_it_says(format_, kind, subtype):
    seconds, file = written(format_, [tone(0.5), audio.silence(0.25, RATE), tone(0.25)])
    with file:
        found = soundfile.info(file)
    assert (found.format, found.subtype, found.samplerate, found.channels) == (kind, subtype, RATE, 1)
    assert seconds == found.frames / RATE == 1.0


@pytest.mark.parametrize("format_", ["wav", "flac"])
def test_lossless_formats_keep_every_sample(format_):
    pieces = [tone(0.1), b"", tone(0.05, 880), audio.silence(0.01, RATE)]
    _, file = written(format_, iter(pieces))
    with file:
        assert soundfile.read(file, dtype="int16")[0].tobytes() == b"".join(pieces)


@pytest.mark.parametrize("format_", ["ogg", "mp3"])
def test_lossy_formats_keep_the_sound(format_):
    _, file = written(format_, [tone(0.5), audio.silence(0.5, RATE)])
    with file:
        samples, _ = soundfile.read(file)
    loud, quiet = samples[RATE // 10 : RATE * 4 // 10], samples[RATE * 7 // 10 : RATE * 9 // 10]
    assert abs(loud).max() == pytest.approx(8000 / 32768, rel=0.1)
    assert abs(quiet).max() < 0.01


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 44_100])
def test_the_sample_rate_is_written(rate):
    seconds, file = written("wav", [bytes(rate * 2)], rate)
    with file:
        assert soundfile.info(file).samplerate == rate
    assert seconds == 1.0


def test_minutes_of_sound_in_one_piece_do_not_overrun_the_encoder():
    """In a process of its own: the encoder's stack would take the tests down with it."""
    code = "import sys, tempfile; from daemon import audio\n"
    code += "print(audio.write(tempfile.TemporaryFile('w+b'), 'ogg', 8000, [bytes(2 * 8000 * 600)]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "600.0\n"), done.stderr


def test_a_wav_file_without_sound_is_whole():
    seconds, file = written("wav", [])
    with file:
        assert soundfile.info(file).frames == 0
    assert seconds == 0


@pytest.mark.parametrize("format_", ["wav", "flac", "ogg", "mp3"])
def test_memory_stays_flat_however_long_the_sound(format_):
    import soundfile as _  # noqa: F401 - not to be counted

    piece = tone(1)
    with tempfile.TemporaryFile("w+b") as file:
        tracemalloc.start()
        audio.write(file, format_, RATE, (bytes(piece) for _ in range(30)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10 * len(piece)


def test_wav_is_written_without_libsndfile_and_numpy():
    code = "import io, sys; from daemon import audio; audio.write(io.BytesIO(), 'wav', 24000, [b'\\0\\0'])\n"
    code += "print([name for name in ('soundfile', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("format_", ["wav", "flac", "ogg", "mp3"])
def test_a_piece_that_cannot_be_had_ends_the_writing(format_):
    def pieces():
        yield tone(0.1)
        raise LookupError("the spool is damaged")

    with pytest.raises(LookupError):
        audio.write(io.BytesIO(), format_, RATE, pieces())


def test_an_audio_knows_its_length():
    assert Audio(bytes(48_000), RATE).seconds == 1.0
    assert len(audio.silence(0.5, RATE)) == RATE
