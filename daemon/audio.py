"""Audio as a value: mono 16-bit samples and their rate. The parent moves bytes and never needs numpy."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLE_BYTES = 2


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
