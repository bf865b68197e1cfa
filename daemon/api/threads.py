"""The threads that answer requests."""

from __future__ import annotations

from waitress.task import ThreadedTaskDispatcher

from daemon.api.channel import Channel

_READS = ("GET", "HEAD")


class Threads:
    """Two crews, so that polls are answered while every change waits for a ledger that does not answer.

    waitress hands a connection over when its next request is whole.
    """

    def __init__(self, each: int) -> None:
        self._reading, self._changing = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        for crew in (self._reading, self._changing):
            crew.set_thread_count(each)

    def add_task(self, client: Channel) -> None:
        """Answer the client's request when its turn comes."""
        request = client.requests[0]
        reads = request.error or request.command in _READS
        (self._reading if reads else self._changing).add_task(client)

    def shutdown(self, timeout: float) -> None:
        """Finish the requests in hand, or give up on them after that many seconds."""
        for crew in (self._reading, self._changing):
            crew.set_thread_count(0)  # both at once: the second does not begin another while the first is waited for
        for crew in (self._reading, self._changing):
            crew.shutdown(timeout=timeout)
