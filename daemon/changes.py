"""What a reload may change in a running daemon, and what needs a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
    differing = [
        (section, key) for section, key in _keys(old) if _value(old, section, key) != _value(new, section, key)
    ]
    live, restart = ([f"{s}.{k}" for s, k in differing if _is_live(s, k) is now] for now in (True, False))
    return Changes(tuple(live), tuple(restart))


def in_force(old: Config, new: Config) -> Config:
    """What holds after a reload: the new values of the live keys, the old ones of all others."""
    sections: dict[str, Any] = {name: getattr(old, name) for name in Config.model_fields}
    for section, key in _keys(old):
        if _is_live(section, key):
            sections[section] = sections[section].model_copy(update={key: _value(new, section, key)})
    return old.model_copy(update=sections)


def _is_live(section: str, key: str) -> bool:
    return section in LIVE or f"{section}.{key}" in LIVE


def _keys(config: Config) -> Iterator[tuple[str, str]]:
    return ((section, key) for section in Config.model_fields for key in type(getattr(config, section)).model_fields)


def _value(config: Config, section: str, key: str) -> Any:
    return getattr(getattr(config, section), key)
