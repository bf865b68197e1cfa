"""The server on our socket."""

from __future__ import annotations

import logging
import socket
import threading
import time

import waitress.server
import waitress.wasyncore
from bottle import Bottle

from daemon.api.channel import Channel
from daemon.api.guard import Wsgi

#: Requests above this are cut off by the server; below it, and above `max_body_bytes`, they get a proper answer.
_LARGEST_REQUEST_BYTES = 64 * 1024**2
#: How long a stop waits for requests in hand, and then for slow clients to take their answers. Seconds.
_PATIENCE = 5


class Server:
    """waitress on our socket: it buffers slow clients in one loop, so that they hold no thread."""

    def __init__(self, app: Wsgi | Bottle, listener: socket.socket) -> None:
        logging.getLogger("waitress").setLevel(logging.WARNING)
        self._closing = threading.Event()
        self._woken = threading.Event()
        self._connections: dict[int, object] = {}
        self._server = waitress.server.create_server(
            app,
            map=self._connections,
            sockets=[listener],
            threads=8,
            connection_limit=500,
            channel_timeout=30,
            cleanup_interval=5,
            asyncore_use_poll=True,  # select(2) dies above 1,023 descriptors
            max_request_header_size=16384,
            max_request_body_size=_LARGEST_REQUEST_BYTES + 1,  # it refuses the limit itself, too
            ident=None,
            expose_tracebacks=False,
        )
        self._server.channel_class = Channel

    def run(self) -> None:
        """Serve until closed."""
        # waitress's own loop ends when the last client has hung up, which an idle one never does.
        while not self._closing.is_set():
            self._turn()
        deadline = time.monotonic() + _PATIENCE
        while self._answering() and time.monotonic() < deadline:
            self._turn()
        # Not before `close` has written to the trigger: its descriptor may be another file's by then.
        self._woken.wait(_PATIENCE)
        waitress.wasyncore.close_all(self._connections, ignore_all=True)

    def close(self) -> None:
        """Finish the requests in hand and stop."""
        if self._closing.is_set():
            return
        self._server.task_dispatcher.shutdown(timeout=_PATIENCE)
        self._closing.set()
        self._server.trigger.pull_trigger()
        self._woken.set()

    def _turn(self) -> None:
        waitress.wasyncore.loop(timeout=1, use_poll=True, map=self._connections, count=1)

    def _answering(self) -> bool:
        return any(client.total_outbufs_len for client in list(self._server.active_channels.values()))
