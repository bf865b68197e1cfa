"""Audio as a value: mono 16-bit samples and their rate. The parent moves bytes and never needs numpy."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

SAMPLE_BYTES = 2
#: Bytes of a prompt's file: more than any recording of a voice needs, and the daemon must hash all of it.
LARGEST_RECORDING = 1 << 30
#: libsndfile's Vorbis encoder puts what it is given at once on the stack: minutes of sound would end the process.
_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Audio:
    """One piece of mono audio.

    Attributes:
        pcm: signed 16-bit little-endian samples, 2 bytes each.
        sample_rate: Hz.
    """

    pcm: bytes
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / SAMPLE_BYTES / self.sample_rate


def silence(seconds: float, sample_rate: int) -> bytes:
    """PCM bytes of `seconds` of silence at `sample_rate` Hz."""
    return bytes(round(seconds * sample_rate) * SAMPLE_BYTES)


def write(file: BinaryIO, format_: str, sample_rate: int, pieces: Iterable[bytes]) -> float:
    """Write mono PCM pieces as one audio file, piece by piece; returns the seconds written.

    Args:
        file: open for reading and writing, at its start.
        format_: `wav`, `flac`, `ogg` or `mp3`.
        sample_rate: Hz.
        pieces: signed 16-bit little-endian samples.
    """
    counted = _Counted(pieces)
    if format_ == "wav":
        _write_wav(file, sample_rate, counted)
    else:
        _write_other(file, format_, sample_rate, counted)
    return counted.bytes / SAMPLE_BYTES / sample_rate


class _Counted:
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.bytes += len(piece)
            yield piece


def _write_wav(file: BinaryIO, sample_rate: int, pieces: Iterable[bytes]) -> None:
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(SAMPLE_BYTES)
        writer.setframerate(sample_rate)
        for piece in pieces:
            writer.writeframesraw(piece)  # the head is mended once, at the end


def _write_other(file: BinaryIO, format_: str, sample_rate: int, pieces: Iterable[bytes]) -> None:
    # Imported at the first need: libsndfile and what comes with it would be carried by a daemon that writes WAV only.
    import soundfile  # noqa: PLC0415

    subtype = {"flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}[format_]
    with soundfile.SoundFile(file, "w", sample_rate, 1, subtype, format=format_.upper()) as writer:
        for piece in pieces:
            for start in range(0, len(piece), _BLOCK_BYTES):
                writer.buffer_write(piece[start : start + _BLOCK_BYTES], "int16")
