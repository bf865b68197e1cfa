"""Talks to systemd, when it listens (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger("indexttsd.notify")


def notify(state: str) -> None:
    """Send one line such as `READY=1` to the socket systemd named; without one, or when nobody listens, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), address)
    except OSError as error:  # a name inherited from a manager that is gone: no reason not to serve
        log.warning("NOTIFY_SOCKET is set, but nobody listens there: %s", error)
