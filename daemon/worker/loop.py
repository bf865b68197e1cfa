"""The loop: take the speech that is next, and let a crew speak it. One thread, one engine."""

from __future__ import annotations

import logging
import time

from daemon.errors import MachineTrouble
from daemon.host import HostState
from daemon.worker.crew import Crew
from daemon.worker.fate import TO_WAIT_FOR, Unsettled
from daemon.worker.rooms import SUBJECT, Rooms

log = logging.getLogger("indexttsd.worker")

#: How long to wait before it is tried again whether anything can be spoken: doubled each time, in seconds. To load an
#: engine is dear, to ask a disk is not.
_FIRST_PATIENCE, _LONGEST_FOR_ENGINE, _LONGEST_FOR_MACHINE = 1.0, 60.0, 5.0
#: How often an idle worker sees whether its engine still lives, in seconds; `/ready` is no staler than this.
_IDLE_LOOK = 10.0


class Worker:
    """Owns the engine and works through the ledger.

    Args:
        unload_after: idle seconds after which the engine is unloaded until a task waits; None or 0: never.
    """

    def __init__(self, rooms: Rooms, *, unload_after: float | None = None) -> None:
        self._rooms = rooms
        self._unload_after = unload_after or None
        self._idle_since: float | None = None

    def stop(self) -> None:
        """Let `run` end after the segments that are in the engine now."""
        self._rooms.stop.set()
        self._rooms.bell.ring()

    def run(self) -> None:
        """Work until stopped."""
        patience = _FIRST_PATIENCE
        while not self._rooms.stop.is_set():
            heard = self._rooms.bell.rings
            self._rooms.sign.within()
            try:
                if not (busy := self.step()):
                    self._rooms.spool.sweep(self._rooms.store.unfinished)  # of what was cancelled while it waited
                patience = _FIRST_PATIENCE
                self._rooms.troubles.over(SUBJECT)
            except Unsettled as error:
                if not self._rooms.stop.is_set():
                    raise
                log.warning("%s", error, extra={"action": "unsettled"})
                break
            except TO_WAIT_FOR as error:
                if self._rooms.stop.is_set():
                    break
                self._rooms.troubles.tell(SUBJECT, str(error))
                self._rooms.sign.within(patience)
                self._rooms.stop.wait(patience)
                longest = _LONGEST_FOR_MACHINE if isinstance(error, MachineTrouble) else _LONGEST_FOR_ENGINE
                patience, busy = min(patience * 2, longest), True
            if busy:
                self._idle_since = None
            else:
                self._rest(heard)
        self._rooms.host.close()
        self._rooms.sign.over()

    def step(self) -> bool:
        """Speak the next waiting speech, and others with it; False if there is nothing to do.

        Raises:
            EngineUnavailable, MachineTrouble: nothing can be spoken for now; nothing stays claimed.
        """
        host, store = self._rooms.host, self._rooms.store
        if host.state is HostState.UNLOADED and not store.waits():
            return False
        facts = host.load()
        listened = self._listen()
        self._rooms.space.require()
        lead = store.claim()
        if lead is None:
            return listened
        Crew(self._rooms, facts, lead).work()
        if host.overweight():
            host.recycle()
        return True

    def _listen(self) -> bool:
        """Let the engine listen to one new recording, so that the doors know a useless one; False if there is none."""
        new = self._rooms.prompts.uninspected()
        if new is None:
            return False
        file, stamp = new
        verdict = self._rooms.host.inspect(file)
        if verdict.unread:
            self._rooms.prompts.postpone(file, verdict.unread)
        else:
            self._rooms.prompts.judge(file, stamp, verdict.fault, verdict.advice)
        return True

    def _rest(self, heard: int) -> None:
        """Nothing is to be done: unload what nobody needs, and wait for the bell."""
        now = time.monotonic()
        self._idle_since = now if self._idle_since is None else self._idle_since
        left = _IDLE_LOOK
        if self._unload_after and self._rooms.host.state is HostState.READY:
            left = min(left, self._idle_since + self._unload_after - now)
            if left <= 0:
                self._rooms.host.unload()
        self._rooms.sign.within(left)
        self._rooms.bell.wait(heard, left)
