"""The loop: take the speech that is next, and let a crew speak it. One thread, one engine."""

from __future__ import annotations

import logging

from daemon.bell import Bell
from daemon.errors import EngineUnavailable
from daemon.host import Host
from daemon.outputs import Outputs
from daemon.prompts import Prompts
from daemon.spool import Spool
from daemon.store import Store
from daemon.worker.crew import Crew
from daemon.worker.rooms import Rooms

log = logging.getLogger("indexttsd.worker")

#: How long to wait before an engine that could not be loaded is tried again: doubled each time, in seconds.
_FIRST_PATIENCE, _LONGEST_PATIENCE = 1.0, 60.0
#: How often an idle worker sees whether its engine still lives, in seconds; `/ready` is no staler than this.
_IDLE_LOOK = 10.0


class Worker:
    """Owns the engine and works through the ledger.

    Args:
        max_attempts: how often a speech may take the engine down before it is given up.
    """

    def __init__(
        self, store: Store, host: Host, prompts: Prompts, outputs: Outputs, spool: Spool, bell: Bell, max_attempts: int
    ) -> None:
        self._rooms = Rooms(store, host, prompts, outputs, spool, bell, max_attempts)

    def stop(self) -> None:
        """Let `run` end after the segments that are in the engine now."""
        self._rooms.stop.set()
        self._rooms.bell.ring()

    def run(self) -> None:
        """Work until stopped."""
        patience = _FIRST_PATIENCE
        while not self._rooms.stop.is_set():
            heard = self._rooms.bell.rings
            try:
                busy = self.step()
                patience = _FIRST_PATIENCE
            except EngineUnavailable as error:
                if self._rooms.stop.is_set():
                    break
                log.error("%s (next try in %g s)", error, patience, extra={"action": "engine_unavailable"})
                self._rooms.stop.wait(patience)
                patience, busy = min(patience * 2, _LONGEST_PATIENCE), True
            if not busy:
                self._rooms.spool.sweep(self._rooms.store.unfinished())  # of what was cancelled while it waited
                self._rooms.bell.wait(heard, _IDLE_LOOK)
        self._rooms.host.close()

    def step(self) -> bool:
        """Speak the next waiting speech, and others with it; False if there is none.

        Raises:
            EngineUnavailable: there is no engine to speak with; nothing stays claimed.
        """
        facts = self._rooms.host.load()
        lead = self._rooms.store.claim()
        if lead is None:
            return False
        Crew(self._rooms, facts, lead).work()
        return True
