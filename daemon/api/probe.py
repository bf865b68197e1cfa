"""Whether the threads that answer requests are alive: they show it, for nobody can see it from outside."""

from __future__ import annotations

from waitress.task import ThreadedTaskDispatcher

from daemon.life import Sign


class Probe:
    """A task of ours among those of the clients: while it is done, one thread of the crew comes free from time to time.

    It goes before all that wait: a long queue is no hang.
    """

    def __init__(self, crew: ThreadedTaskDispatcher, sign: Sign) -> None:
        self._crew = crew
        self._sign = sign
        self._under_way = False

    def send(self) -> None:
        """Have the crew show that it lives, unless it still owes that."""
        if self._under_way:
            return
        self._under_way = True
        self._sign.within()
        with self._crew.lock:
            self._crew.queue.appendleft(self)
            self._crew.queue_cv.notify()

    def service(self) -> None:
        """Be the task that is done now; waitress calls this."""
        self._sign.within()
        self._under_way = False

    def cancel(self) -> None:
        """Be given up at the end; waitress calls this."""
        self._sign.over()
