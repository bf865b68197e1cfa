"""What becomes of a speech when something goes wrong: all of the fault policy."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from daemon import logs
from daemon.errors import (
    EngineDied,
    EngineRefused,
    EngineUnavailable,
    LedgerBroken,
    LedgerDamaged,
    LedgerUnavailable,
    MachineTrouble,
    SpeechFailed,
)
from daemon.store import Claim, ClaimLost
from daemon.worker.rooms import SUBJECT, Rooms

log = logging.getLogger("indexttsd.worker")


#: How often the ledger is asked again to take what became of a speech. Seconds.
_PATIENCE = 1.0


class Cancelled(Exception):
    """A client wants this speech to end."""


class SetAside(Exception):
    """The speech must wait again, for no fault of its own: the daemon stops, or somebody more urgent came."""


class SegmentDamaged(Exception):
    """A finished segment changed on the disk; the next try finds it missing and speaks it again."""


class Unsettled(Exception):
    """The ledger did not take what became of a speech, which stays claimed: only a new start puts that right."""


#: Nothing can be spoken for now: the loop waits and tries again.
TO_WAIT_FOR = (EngineUnavailable, MachineTrouble)
#: The ledger cannot be told any more: the daemon ends, and its next start recovers.
HOPELESS = (LedgerBroken, LedgerDamaged, Unsettled)


@contextlib.contextmanager
def fate_of(rooms: Rooms, claimed: Claim) -> Iterator[None]:
    """End or give back the speech as the error that comes out of the block demands.

    Raises:
        EngineUnavailable, MachineTrouble: it is given back, and no other can be spoken either.
        LedgerBroken, LedgerDamaged, Unsettled: it stays claimed; the daemon ends.
    """
    try:
        yield
    except HOPELESS:
        raise
    except Exception as error:
        settle(rooms, claimed, error)
        if isinstance(error, TO_WAIT_FOR):
            raise


def settle(rooms: Rooms, claimed: Claim, error: Exception, *, company: bool = False) -> None:
    """End or give back the speech as this error demands.

    Args:
        company: others were at work with it, so that it is not known whose fault a fault of ours was.

    Raises:
        LedgerBroken, LedgerDamaged, Unsettled
    """
    try:
        insist(rooms, lambda: _settle(rooms, claimed, error, company=company))
    except ClaimLost as lost:
        log.warning("%s", lost, extra={"action": "claim_lost", "task": claimed.task_id})
    except HOPELESS:
        raise
    except Exception as broken:
        raise Unsettled(f"{claimed.task_id} stays claimed: {broken}") from broken
    rooms.bell.ring()


def insist(rooms: Rooms, change: Callable[[], None]) -> None:
    """Have the ledger take a change, however long its disk is full; nobody's attempts suffer from that.

    Raises:
        Unsettled: the daemon stops meanwhile.
        LedgerBroken, LedgerDamaged, ClaimLost
    """
    waited = False
    while True:
        rooms.sign.within()
        try:
            change()
        except LedgerUnavailable as error:
            waited = True
            rooms.troubles.tell(SUBJECT, str(error))
            if rooms.stop.wait(_PATIENCE):
                raise Unsettled(f"stopped while the ledger took no change: {error}") from None
        else:
            if waited:
                rooms.troubles.over(SUBJECT)
            return


@contextlib.contextmanager
def in_engine(rooms: Rooms, *claims: Claim) -> Iterator[None]:
    """Record that these speeches enter the engine in one call, the block: if it never comes back, that counts.

    Raises:
        EngineUnavailable: there is no engine, or the daemon itself ended it within the call: nothing counts.
        LedgerUnavailable: nothing entered.
        LedgerBroken, LedgerDamaged, Unsettled, ClaimLost
    """
    rooms.host.load()  # one that died before is nobody's doing here
    rooms.store.enter(*claims)
    try:
        yield
    except EngineUnavailable:
        insist(rooms, lambda: rooms.store.leave(*claims))
        raise


def _settle(rooms: Rooms, claimed: Claim, error: Exception, *, company: bool) -> None:
    match error:
        case SpeechFailed():
            _end(rooms, claimed, error)
        case Cancelled():
            rooms.spool.shelf(claimed.speech).clear()
            rooms.store.end_cancelled(claimed)
        case SetAside() | EngineUnavailable() | MachineTrouble() | ClaimLost():  # of a crew, only one claim was lost
            rooms.store.give_back(claimed)
        case EngineDied():
            rooms.store.give_back(claimed, str(error))
        case _:
            _count_our_fault(rooms, claimed, error, company=company)


def _end(rooms: Rooms, claimed: Claim, error: SpeechFailed) -> None:
    what, why = f"{claimed.task_id}: {claimed.file_name}", str(error)
    if isinstance(error, EngineRefused) and not logs.texts_are_shown():
        why = "the engine cannot speak it; the task's error says why"
    log.warning("%s failed: %s", what, why, extra={"action": "task_failed", "task": claimed.task_id})
    rooms.spool.shelf(claimed.speech).clear()
    rooms.store.fail(claimed, str(error))


def _count_our_fault(rooms: Rooms, claimed: Claim, error: Exception, *, company: bool) -> None:
    """A bug or a full disk must not end the loop, nor be tried for ever: it counts as an attempt, or as a suspicion."""
    said = {"action": "internal_error", "task": claimed.task_id}
    log.error("%s could not be spoken", claimed.task_id, exc_info=error, extra=said)
    reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
    suspicion = {"in_company": True} if company else {"attempts": claimed.attempts + 1}
    rooms.store.give_back(claimed, f"internal error: {reason}", **suspicion)
