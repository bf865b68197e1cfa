"""The server on our socket."""

from __future__ import annotations

import heapq
import logging
import resource
import socket
import threading
import time
from functools import partial

import waitress.server
import waitress.wasyncore
from bottle import Bottle

from daemon.api.bodies import Larder
from daemon.api.channel import Bounds, Channel
from daemon.api.guard import Wsgi
from daemon.api.threads import Threads
from daemon.life import Life

#: Requests above this are cut off by the server; below it, and above `max_body_bytes`, they get a proper answer.
_LARGEST_REQUEST_BYTES = 64 * 1024**2
#: How long a stop waits for requests in hand, and then for slow clients to take their answers. Seconds.
_PATIENCE = 5
#: Threads for reading requests, and as many for those that change something.
_THREADS = 4
#: How many connections are accepted in one turn of the loop; the more there are, the longer a turn lasts.
_ACCEPTED_AT_ONCE = 64
#: Connections above the bound, of clients who wait for us, before nobody is let in any more.
_IN_HAND_BESIDES = 256
#: What of an answer the kernel holds for a client who does not read. Left alone it would take some MB for each.
_KERNEL_BYTES = 256 * 1024
#: Descriptors for all that is no connection: the ledger, the inbox, the engine.
_OTHER_FILES = 256


class Server:
    """waitress on our socket: it buffers slow clients in one loop, so that they hold no thread."""

    def __init__(
        self, app: Wsgi | Bottle, listener: socket.socket, bounds: Bounds | None = None, life: Life | None = None
    ) -> None:
        life = life or Life()
        self._sign = life.of("HTTP loop")
        logging.getLogger("waitress").setLevel(logging.WARNING)
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for each request of a crowd
        self._bounds = bounds or Bounds()
        self._most = _room_for(self._bounds.connections)
        self._next_look = 0.0
        self._closing = threading.Event()
        self._woken = threading.Event()
        self._connections: dict[int, object] = {}
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)  # those it accepts inherit it
        self._threads = Threads(_THREADS, life)
        self._server = waitress.server.create_server(
            app,
            map=self._connections,
            sockets=[listener],
            _dispatcher=self._threads,
            connection_limit=self._most + _IN_HAND_BESIDES,
            channel_timeout=2**31,  # Channel.is_late knows better
            asyncore_use_poll=True,  # select(2) dies above 1,023 descriptors
            max_request_header_size=16384,
            max_request_body_size=_LARGEST_REQUEST_BYTES + 1,  # it refuses the limit itself, too
            outbuf_overflow=2**31,  # no temporary files: what is kept in memory is bounded for all together
            ident=None,
            expose_tracebacks=False,
        )
        self._larder = Larder(self._bounds.room, self._bounds.body_bytes)
        self._server.channel_class = partial(Channel, self._bounds, self._larder)

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
        self._threads.shutdown(_PATIENCE)
        self._closing.set()
        self._server.trigger.pull_trigger()
        self._woken.set()

    def _turn(self) -> None:
        self._sign.within()
        waitress.wasyncore.loop(timeout=1, use_poll=True, map=self._connections, count=1)
        self._accept_more()
        if (now := time.monotonic()) >= self._next_look:
            self._next_look = now + self._bounds.patience / 10
            self._hang_up([client for client in self._waited_for() if client.is_late(now)])
            self._bound_unread()
            self._threads.show_life()
        if (excess := len(self._clients()) - self._most) > 0:
            self._hang_up(heapq.nsmallest(excess, self._waited_for(), key=lambda client: client.since))

    def _accept_more(self) -> None:
        """waitress accepts one connection in a turn, so a crowd would keep everybody else at the door."""
        for _ in range(_ACCEPTED_AT_ONCE):
            before = len(self._connections)
            if before < self._most + _IN_HAND_BESIDES:
                self._server.handle_accept()
            if len(self._connections) == before:
                return

    def _bound_unread(self) -> None:
        """Who asks for much and does not read it goes, the longest waited for first."""
        readers = sorted((client for client in self._waited_for() if client.unread), key=lambda client: client.since)
        kept = sum(client.unread for client in readers)
        for client in readers[:-1]:  # one answer may be larger than all the room
            if kept <= self._bounds.room:
                return
            kept -= client.unread
            self._hang_up([client])

    def _clients(self) -> list[Channel]:
        return list(self._server.active_channels.values())

    def _waited_for(self) -> list[Channel]:
        return [client for client in self._clients() if not client.in_hand]

    @staticmethod
    def _hang_up(clients: list[Channel]) -> None:
        """At once: waitress itself closes only those who can be written to, which who does not read cannot."""
        for client in clients:
            client.handle_close()

    def _answering(self) -> bool:
        return any(client.total_outbufs_len for client in self._clients())


def _room_for(connections: int) -> int:
    """How many connections there may be. Each may need two descriptors: its own, and that of a sound on its way.

    The soft limit of many systems is 1,024 only because of select(2), and every process may raise it to its hard one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + _OTHER_FILES
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, (soft - _OTHER_FILES) // 2))
