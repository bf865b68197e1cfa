"""A crew: the speeches that share the engine's calls, from the one that was next in the queue until all are made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from operator import attrgetter

from daemon import logs
from daemon.audio import Audio
from daemon.engines.base import SegmentError
from daemon.errors import EngineRefused, StorageUnavailable
from daemon.host import Facts, Spoken
from daemon.store import Claim, Gain
from daemon.tasks import BATCH_MODE
from daemon.worker.fate import HOPELESS, TO_WAIT_FOR, Cancelled, SetAside, fate_of, in_engine, insist, settle
from daemon.worker.picking import Row, pick
from daemon.worker.rooms import SUBJECT, Rooms
from daemon.worker.work import Work, plan, publish

log = logging.getLogger("indexttsd.worker")

#: How many calls' worth of segments lie ready, so that some of like size can be found for every call.
_AHEAD = 4
#: How many calls' worth of speeches a crew takes out of the queue's order, before everybody else has a turn again.
_WINDOW = 8
#: How many calls a crew goes on after its lead is done; what is not done by then waits for its own turn.
_OVERTIME = 32


class Crew:
    """Speaks `lead`, and in `批次推理` others of its priority with it; a suspect is spoken alone.

    Raises:
        EngineUnavailable, MachineTrouble: from `work`; nothing stays claimed.
        LedgerBroken, LedgerDamaged, Unsettled: from `work`; the daemon ends.
    """

    def __init__(self, rooms: Rooms, facts: Facts, lead: Claim) -> None:
        self._rooms = rooms
        self._facts = facts
        self._lead = lead
        batched = lead.infer_mode == BATCH_MODE
        self._limit = facts.max_batch if batched else facts.plain_batch
        self._berths = _WINDOW * self._limit if batched and self._limit > 1 and not lead.suspect else 0
        self._works: list[Work] = []
        self._calls = 0
        self._overtime = 0

    def work(self) -> None:
        """Speak the lead and its mates until none is left; each file is there as soon as its last segment is."""
        try:
            self._enlist(self._lead)
            while self._works:
                self._gather()
                self._heed()
                self._speak()
                self._publish()
                self._rooms.sign.within()
        except HOPELESS:
            raise
        except Exception as error:
            self._disband(error)
            if isinstance(error, TO_WAIT_FOR):
                raise

    def _enlist(self, claimed: Claim) -> None:
        with fate_of(self._rooms, claimed):
            work = plan(self._rooms, claimed, self._facts)
            work.last_call = self._calls
            self._works.append(work)

    def _gather(self) -> None:
        """Take mates while too few segments lie ready; make way for who is more urgent."""
        if (self._berths or self._works[1:]) and self._rooms.store.waits(above=self._lead.priority):
            self._berths = 0
            for work in self._works[1:]:
                self._dismiss(work, SetAside())
        while self._is_short_of_segments() and (mate := self._rooms.store.claim_mate(self._lead.priority)):
            self._berths -= 1
            self._enlist(mate)

    def _is_short_of_segments(self) -> bool:
        # One speech counts for a call at most: beside a long text there is always room for others.
        ready = sum(min(len(work.missing), self._limit) for work in self._works)
        return self._berths > 0 and ready < _AHEAD * self._limit and not self._rooms.stop.is_set()

    def _heed(self) -> None:
        """Between two calls a stop ends the crew, the end of its time or a full disk, and a cancel its speech."""
        self._overtime += self._works[0].claimed is not self._lead
        if self._rooms.stop.is_set() or self._overtime > _OVERTIME:
            raise SetAside
        self._rooms.space.require()
        cancelled = self._rooms.store.cancel_requested(*(work.claimed for work in self._works))
        for work in [work for work in self._works if work.claimed.speech in cancelled]:
            self._dismiss(work, Cancelled())

    def _speak(self) -> None:
        """One call of the engine, and what came of it."""
        by_speech = {work.claimed.speech: work for work in self._works}
        if not (waiting := self._waiting()):
            return
        rows = [(by_speech[row.speech], row.index) for row in pick(waiting, self._limit)]
        works = list(dict.fromkeys(work for work, _ in rows))
        self._calls += 1
        for work in works:
            work.last_call = self._calls
        _tell_texts(rows)
        with in_engine(self._rooms, *(work.claimed for work in works)):
            spoken = self._rooms.host.speak([work.utterance(index) for work, index in rows])
        figures = len(rows), len(works), spoken.took
        log.debug("%d segments of %d speeches took %.2f s", *figures, extra={"action": "engine_call"})
        self._settle(rows, spoken)

    def _waiting(self) -> list[Row]:
        """The segments that may be spoken next, first those of the speech whose last call is the longest ago."""
        return [
            Row(work.claimed.speech, index, work.segments[index].size, work.claimed.options)
            for work in sorted(self._works, key=attrgetter("last_call"))
            for index in work.missing[: _AHEAD * self._limit]
        ]

    def _settle(self, rows: Sequence[tuple[Work, int]], spoken: Spoken) -> None:
        gains = {work: Gain(work.claimed, 0, 0.0, 0.0) for work, _ in rows}
        faults: dict[Work, Exception] = {}
        for (work, index), result, took in zip(rows, spoken.results, _shares(spoken), strict=True):
            if fault := _keep(work, index, result):
                faults.setdefault(work, fault)
            gains[work] = gains[work].plus(*((0, 0.0) if fault else (1, _seconds(result))), took)
        insist(self._rooms, lambda: self._rooms.store.advance(*gains.values()))
        for work, fault in faults.items():
            self._dismiss(work, fault)
        for fault in faults.values():
            if isinstance(fault, TO_WAIT_FOR):
                raise fault
        self._rooms.troubles.over(SUBJECT)  # now, for a crew may work for hours

    def _publish(self) -> None:
        for work in [work for work in self._works if not work.missing]:
            self._works.remove(work)
            with fate_of(self._rooms, work.claimed):
                publish(self._rooms, work, self._facts.sample_rate)

    def _dismiss(self, work: Work, error: Exception) -> None:
        self._works.remove(work)
        settle(self._rooms, work.claimed, error)

    def _disband(self, error: Exception) -> None:
        """What ended the crew is the end, for now, of each speech in it."""
        for work in self._works:
            settle(self._rooms, work.claimed, error, company=len(self._works) > 1)


def _tell_texts(rows: Sequence[tuple[Work, int]]) -> None:
    """Say what enters the engine, so that a text that harms it can be found, if the log may show texts."""
    for work, index in rows if logs.texts_are_shown() else ():
        said = {"action": "segment", "task": work.claimed.task_id}
        log.info("%s: segment %d: %s", work.claimed.task_id, index, work.segments[index].text, extra=said)


def _keep(work: Work, index: int, result: Audio | SegmentError) -> Exception | None:
    """Keep what was spoken; returns why that cannot be done, if so."""
    if isinstance(result, SegmentError):
        return EngineRefused(result.message)
    try:
        work.keep(index, result)
    except (OSError, StorageUnavailable) as error:
        return error
    return None


def _seconds(result: Audio | SegmentError) -> float:
    return result.seconds if isinstance(result, Audio) else 0.0


def _shares(spoken: Spoken) -> list[float]:
    """The engine's seconds for each row, by its share of the audio; a failed row has none unless all failed."""
    heard = [_seconds(result) for result in spoken.results]
    return [spoken.took * (one / sum(heard) if any(heard) else 1 / len(heard)) for one in heard]
