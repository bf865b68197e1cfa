"""A daemon that is handed its socket as descriptor 3, as systemd does: `tests.handover PORT-OR-FILE serve ...`."""

from __future__ import annotations

import os
import socket
import sys


def made(where: str) -> socket.socket:
    if where.isdigit():
        return socket.create_server(("127.0.0.1", int(where)))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(where)
    listener.listen()
    return listener


if __name__ == "__main__":
    listener = made(sys.argv.pop(1))
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)  # it may have been 3 before
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
    os.execv(sys.executable, [sys.executable, "-m", "daemon", *sys.argv[1:]])
