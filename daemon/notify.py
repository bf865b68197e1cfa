"""Talks to systemd, when it listens (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger("indexttsd.notify")

#: The watchdog is fed for as long as the daemon lives: that nobody listens is told once, until somebody does.
_unheard: set[str] = set()


def notify(state: str) -> None:
    """Send lines such as `READY=1` to the socket systemd named; without one, or when nobody listens, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), address)
    except OSError as error:  # a name inherited from a manager that is gone: no reason not to serve
        if address not in _unheard:
            log.warning("NOTIFY_SOCKET is set, but nobody listens there: %s", error, extra={"action": "unheard"})
        _unheard.add(address)
    else:
        _unheard.discard(address)


def one_line(sentence: str) -> str:
    """The sentence as the value of STATUS=: a line break in it would begin another message."""
    return " ".join(sentence.split())


def watchdog_seconds() -> float | None:
    """Within how many seconds systemd wants to hear WATCHDOG=1 again; None if it does not (sd_watchdog_enabled(3))."""
    wanted, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not wanted.isascii() or not wanted.isdigit() or pid not in (None, str(os.getpid())):
        return None
    return int(wanted) / 1_000_000 or None
