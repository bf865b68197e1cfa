"""The threads that answer requests."""

from __future__ import annotations

from waitress.task import ThreadedTaskDispatcher

from daemon.api.channel import Channel
from daemon.api.probe import Probe
from daemon.life import Life

_READS = ("GET", "HEAD")


class Threads:
    """Two crews, so that polls are answered while every change waits for a ledger that does not answer.

    waitress hands a connection over when its next request is whole.

    Args:
        each: how many threads a crew has. life: who is told that each crew lives.
    """

    def __init__(self, each: int, life: Life) -> None:
        self._reading, self._changing = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        for crew in (self._reading, self._changing):
            crew.set_thread_count(each)
        crews = {"HTTP threads that read": self._reading, "HTTP threads that change": self._changing}
        self._probes = [Probe(crew, life.of(name)) for name, crew in crews.items()]

    def add_task(self, client: Channel) -> None:
        """Answer the client's request when its turn comes."""
        request = client.requests[0]
        reads = request.error or request.command in _READS
        (self._reading if reads else self._changing).add_task(client)

    def show_life(self) -> None:
        """Have each crew show that a thread of it is free from time to time."""
        for probe in self._probes:
            probe.send()

    def shutdown(self, timeout: float) -> None:
        """Finish the requests in hand, or give up on them after that many seconds."""
        for crew in (self._reading, self._changing):
            crew.set_thread_count(0)  # both at once: the second does not begin another while the first is waited for
        for crew in (self._reading, self._changing):
            crew.shutdown(timeout=timeout)
