"""Kokoro-82M on the CPU: the embedded engine for Mandarin and English. Importing this imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from daemon.engines.base import EngineSettings, EngineSpec, Options
from daemon.engines.clips import ClipRules

if TYPE_CHECKING:
    from daemon.engines.kokoro.engine import KokoroEngine

__all__ = ["CLIP_RULES", "SPEC", "KokoroOptions", "KokoroSettings"]

#: A voice is told by the recording's first seconds; how long it goes on does not matter.
CLIP_RULES = ClipRules()


class KokoroOptions(Options):
    """What a request may ask for.

    Attributes:
        speed: tempo, 1.0 is the voice's own; 2.0 takes about half the time.
    """

    speed: float = Field(default=1.0, ge=0.5, le=2.0, allow_inf_nan=False)


class KokoroSettings(Options):
    """What the operator may set.

    Attributes:
        threads: CPU cores to use; None takes all this process may use, 4 at most.
    """

    threads: int | None = Field(default=None, ge=1, le=64)


def load(settings: EngineSettings) -> KokoroEngine:
    """Build the engine.

    Raises:
        EngineUnavailable: a package or a file is missing or wrong; the message says which and what to do.
    """
    from daemon.engines.kokoro.files import importing  # noqa: PLC0415 (the import must stay light until now)

    with importing():
        from daemon.engines.kokoro.engine import KokoroEngine  # noqa: PLC0415

        return KokoroEngine(settings)


SPEC = EngineSpec(
    name="kokoro",
    load=load,
    request_options=KokoroOptions,
    engine_options=KokoroSettings,
    about="Kokoro-82M speaks Mandarin and English on the CPU; a prompt picks the closest of its own voices,"
    " it is not cloned.",
    clip_rules=CLIP_RULES,
)
