"""The engine's process as the daemon sees it: start it, let it speak, watch it, replace it."""

from __future__ import annotations

from daemon.host.host import Facts, Host, HostState, Limits, Spoken

__all__ = ["Facts", "Host", "HostState", "Limits", "Spoken"]
