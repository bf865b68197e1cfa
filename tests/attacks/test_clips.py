"""Hostile recordings: little memory, little time, a sentence; and only the engine's process ever opens one."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from daemon.host import host as host_module
from tests.live import LiveDaemon, until, write_wav
from tests.workshop import make_host

RATE = 24_000


def wav(channels=1, rate=RATE, bits=16, promised=1000, data=bytes(1000)):
    """A WAV file whose header says what it likes."""
    frame = channels * bits // 8
    facts = struct.pack("<HHIIHH", 1, channels, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + facts + b"data" + struct.pack("<I", promised) + data


def flac_of_silence(file, hours):
    with soundfile.SoundFile(file, "w", 4000, 1, format="FLAC", subtype="PCM_S8", compression_level=0) as out:
        for _ in range(hours):
            out.write(np.zeros(4000 * 3600, dtype="int16"))


def flac_that_promises(file, samples):
    """STREAMINFO's 36 bits for the number of samples are the low ones of the bytes 18 to 25."""
    soundfile.write(file, 0.5 * np.sin(np.arange(RATE * 4) / 5), RATE, format="FLAC")
    content = bytearray(file.read_bytes())
    facts = int.from_bytes(content[18:26]) >> 36 << 36 | samples
    content[18:26] = facts.to_bytes(8)
    file.write_bytes(content)


def ogg_that_promises(file, samples):
    """The last page's granule position is the number of samples; its checksum has to fit."""
    soundfile.write(file, 0.5 * np.sin(np.arange(RATE * 4) / 5), RATE, format="OGG")
    content = bytearray(file.read_bytes())
    page = content.rindex(b"OggS")
    content[page + 6 : page + 14] = samples.to_bytes(8, "little")
    content[page + 22 : page + 26] = bytes(4)
    content[page + 22 : page + 26] = struct.pack("<I", ogg_checksum(content[page:]))
    file.write_bytes(content)


def ogg_checksum(page):
    """CRC-32 with the polynomial 04c11db7, from 0, neither reflected nor inverted (RFC 3533, section 6)."""
    found = 0
    for byte in page:
        found ^= byte << 24
        for _ in range(8):
            found = (found << 1 ^ (0x04C11DB7 if found & 0x80000000 else 0)) & 0xFFFFFFFF
    return found


UNREADABLE = "it cannot be read as audio"
#: Name -> who makes it (or its bytes), and how the sentence goes on.
HOSTILE = {
    "promises.flac": (lambda file: flac_that_promises(file, (1 << 36) - 1), UNREADABLE),
    "promises.ogg": (lambda file: ogg_that_promises(file, 1 << 62), "its header promises 192153584101141 s"),
    "promises.wav": (wav(promised=0xFFFFFFFE), "it is 0.02 s long"),
    "channels.wav": (wav(channels=65_535), UNREADABLE),
    "no_channels.wav": (wav(channels=0), UNREADABLE),
    "no_rate.wav": (wav(rate=0), UNREADABLE),
    "no_bits.wav": (wav(bits=0), UNREADABLE),
    "chunks.wav": (b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 500_000, UNREADABLE),
    "text.wav": ("不是录音。\n".encode() * 1000, UNREADABLE),
    "archive.wav": (b"PK\3\4" + bytes(100_000), UNREADABLE),
    "silence_of_frames.mp3": (b"\xff\xfb\x90\0" + bytes(2_000_000), UNREADABLE),
    "long_tag.mp3": (b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(1000), UNREADABLE),
    "empty.ogg": (b"", UNREADABLE),
}


def memory(pid):
    """The most that a process ever held, in MB (proc(5), VmHWM)."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) >> 10


@pytest.fixture(scope="module")
def listening(tmp_path_factory):
    """A daemon that listened to all of them, with an engine that wants sound; and what its engine held before."""
    live = LiveDaemon(tmp_path_factory.mktemp("clips"), engine={"options": {"picky": True}})
    write_wav(live.folder / "prompts" / "good.wav", level=9000)
    live.start()
    before = live.engine_pid(), until(lambda: live.engine_pid() and memory(live.engine_pid()), "the engine")
    for name, (content, _) in HOSTILE.items():
        made = live.folder / name
        made.write_bytes(content) if isinstance(content, bytes) else content(made)
        made.rename(live.folder / "prompts" / name)
    os.mkfifo(live.folder / "prompts" / "pipe.wav")
    os.mknod(live.folder / "prompts" / "zeros.wav", 0o20600, os.makedev(1, 5))
    (live.folder / "prompts" / "endless.wav").symlink_to("/dev/zero")
    yield live, before
    live.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recording_is_refused_with_a_sentence(listening, name):
    live, _ = listening

    until(lambda: f"the prompt {name} cannot be used" in live.log.read_text(), f"{name} is judged")
    answer = live.post("/api/tts/tasks", {"text": "Hello.", "output_path": "x", "prompt_path": name})
    assert answer.status == 400
    assert answer.detail.startswith(f"Specified prompt '{name}' cannot be used: {HOSTILE[name][1]}")


def test_ten_hours_of_silence_are_refused_after_a_minute_of_them(tmp_path):
    """They fill three megabytes, and would fill gigabytes of memory."""
    flac_of_silence(tmp_path / "long.flac", 10)
    assert (tmp_path / "long.flac").stat().st_size < 4 << 20
    program = (
        "import sys, resource; from pathlib import Path; from daemon.engines import SPECS, clips\n"
        "import numpy, soundfile; held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(clips.inspect(Path(sys.argv[1]), SPECS['indextts-2'].clip_rules).fault)\n"
        "print(clips.inspect(Path(sys.argv[1]), SPECS['kokoro'].clip_rules).fault)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held >> 10)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "long.flac")]
    long, silent, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert long == "it is 36000 s long; cut it to 3 to 15 s of clean speech"
    assert silent.startswith("it holds no sound in its first 15 s")
    assert int(grown) < 64


@pytest.mark.parametrize("name", ["pipe.wav", "zeros.wav", "endless.wav"])
def test_what_is_no_file_is_no_prompt(listening, name):
    live, _ = listening
    assert name not in live.get("/api/tts/prompts").json["prompts"]
    answer = live.post("/api/tts/tasks", {"text": "Hello.", "output_path": "x", "prompt_path": name})
    assert answer.detail == f"Specified prompt '{name}' not found."


def test_after_all_of_them_the_engine_is_the_same_and_small_and_the_daemon_opened_none(listening):
    live, (pid, held) = listening
    assert live.ended(live.submit(prompt_path="good.wav"))["status"] == "completed"
    assert live.engine_pid() == pid
    assert memory(pid) - held < 150
    libraries = Path(f"/proc/{live.pid}/maps").read_text()
    assert "sndfile" not in libraries
    assert "numpy" not in libraries
    assert "sndfile" in Path(f"/proc/{pid}/maps").read_text()  # so that is how one would see it


def test_a_recording_over_which_the_process_hangs_is_given_up_soon(tmp_path, monkeypatch):
    """A hung library may hold up a segment for minutes, and a recording for seconds only."""
    monkeypatch.setattr(host_module, "_HEAR_TIMEOUT", 3)
    host = make_host(tmp_path, timeout=3600)
    try:
        host.load()
        hung = host.pid
        os.kill(hung, signal.SIGSTOP)
        assert host.inspect(write_wav(tmp_path / "good.wav")).fault is None
        assert host.pid != hung
    finally:
        host.close()
