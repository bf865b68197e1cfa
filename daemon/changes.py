"""What a reload may change in a running daemon, and what needs a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from daemon.config import Config

#: What takes effect at a reload: whole sections, and single keys.
LIVE = frozenset({"limits", "retention", "log", "prompts", "server.hosts", "server.cors_origins"})


@dataclass(frozen=True, slots=True)
class Changes:
    """The keys in which two configurations differ, such as `limits.queue`.

    Attributes:
        live: those that take effect now. restart: those that do at the next start.
    """

    live: tuple[str, ...]
    restart: tuple[str, ...]


def between(old: Config, new: Config) -> Changes:
    """How the new configuration differs from the old."""
    keys = list(_differing(old, new))
    live = [key for key in keys if key in LIVE or key.partition(".")[0] in LIVE]
    return Changes(tuple(live), tuple(key for key in keys if key not in live))


def _differing(old: Config, new: Config) -> Iterator[str]:
    before, after = old.model_dump(), new.model_dump()
    for section, keys in before.items():
        for key, value in keys.items():
            if after[section][key] != value:
                yield f"{section}.{key}"
