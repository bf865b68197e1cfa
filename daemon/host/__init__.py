"""The engine's process as the daemon sees it: start it, let it speak, watch it, replace it."""

from __future__ import annotations

from daemon.host.answers import Facts, Spoken
from daemon.host.host import Host, HostState, Limits

__all__ = ["Facts", "Host", "HostState", "Limits", "Spoken"]
