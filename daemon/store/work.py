"""The worker's side of the ledger: claim, progress, and the ends of a speech and of its task."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal_column, select, update

from daemon.errors import IndexttsdError
from daemon.store.schema import JOINABLE, speeches, tasks, texts
from daemon.tasks import State, format_id, sources


class ClaimLost(IndexttsdError):
    """The speech is no longer the one that was claimed: it ended meanwhile, or was claimed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A speech in the worker's hands.

    Attributes:
        speech, task: rows in the ledger. token: guards every later change of this claim.
        priority: 0 to 9.
        attempts: how often it has been in the engine since its last finished segment, before this claim.
        in_company: it was in a call with others that never came back; whose fault that was is not known.
        last_error: what ended the last of those attempts, if anything is known.
        digest: SHA-256 of a file of this speech that may have been published already, or None.
    """

    speech: int
    task: int
    token: int
    task_id: str
    file_name: str
    text: str
    prompt: str
    seed: int
    infer_mode: str
    options: Mapping[str, Any]
    format: str
    directory: str
    overwrite: bool
    priority: int
    attempts: int
    in_company: bool
    last_error: str | None
    digest: str | None

    @property
    def suspect(self) -> bool:
        """Whether it may have taken the engine down, and so must be spoken alone."""
        return self.in_company or self.attempts > 0


class Gain(NamedTuple):
    """What one call brought a speech.

    Attributes:
        segments: how many were finished.
        audio_seconds: of those segments.
        process_time: the speech's share of the engine's seconds.
    """

    claimed: Claim
    segments: int
    audio_seconds: float
    process_time: float

    def plus(self, segments: int, audio_seconds: float, process_time: float) -> Gain:
        """This and as much more."""
        sums = (self.segments + segments, self.audio_seconds + audio_seconds, self.process_time + process_time)
        return Gain(self.claimed, *sums)


# The state stands in the statement as written, not as a parameter: so SQLite sees that the partial index fits.
_PENDING: ColumnElement[str] = literal_column(f"'{State.PENDING}'")
_PROCESSING: ColumnElement[str] = literal_column(f"'{State.PROCESSING}'")
_NEXT = (
    select(speeches.c.id)
    .where(speeches.c.state == _PENDING)
    .order_by(speeches.c.priority.desc(), speeches.c.task, speeches.c.position)
    .limit(1)
)
_MATE = select(speeches.c.id).where(JOINABLE).order_by(speeches.c.task, speeches.c.position).limit(1)


def claim(connection: Connection) -> Claim | None:
    """Take the next waiting speech: highest priority first, then the oldest task, then its files in order."""
    return _take(connection, _NEXT)


def claim_mate(connection: Connection, priority: int) -> Claim | None:
    """Take the next speech of this priority that may share the engine's calls, in the queue's order."""
    return _take(connection, _MATE.where(speeches.c.priority == priority))


def waits(connection: Connection, above: int) -> bool:
    """Whether a speech waits, of a priority above this one."""
    urgent = select(speeches.c.id).where(speeches.c.state == _PENDING, speeches.c.priority > above).limit(1)
    return connection.scalar(urgent) is not None


def _take(connection: Connection, chosen: Select[Any]) -> Claim | None:
    taken = update(speeches).where(speeches.c.id == chosen.scalar_subquery())
    values = {"state": State.PROCESSING, "token": speeches.c.token + 1}
    speech = connection.execute(taken.values(values).returning(speeches)).first()
    if speech is None:
        return None
    started = update(tasks).where(tasks.c.id == speech.task, tasks.c.state.in_((State.PENDING, State.PROCESSING)))
    values = {"state": State.PROCESSING, "started_at": func.coalesce(tasks.c.started_at, time.time())}
    task = connection.execute(started.values(values).returning(tasks)).one()
    return _claim_of(connection, speech, task)


def _claim_of(connection: Connection, speech: Row[Any], task: Row[Any]) -> Claim:
    return Claim(
        speech=speech.id,
        task=task.id,
        token=speech.token,
        task_id=format_id(task.batch, task.created_at, task.id - 1),
        file_name=speech.file_name,
        text=connection.scalar(select(texts.c.text).where(texts.c.speech == speech.id)) or "",
        prompt=task.prompt,
        seed=task.seed,
        infer_mode=task.infer_mode,
        options=task.options,
        format=task.format,
        directory=task.directory,
        overwrite=task.overwrite,
        priority=speech.priority,
        attempts=speech.attempts,
        in_company=speech.in_company,
        last_error=speech.error,
        digest=speech.digest,
    )


def orphans(connection: Connection) -> list[Claim]:
    """The claims that no living worker holds, as seen at a start."""
    found = connection.execute(select(speeches).where(speeches.c.state == _PROCESSING)).all()
    rows = {row.task: connection.execute(select(tasks).where(tasks.c.id == row.task)).one() for row in found}
    return [_claim_of(connection, speech, rows[speech.task]) for speech in found]


def change(connection: Connection, claimed: Claim, **values: Any) -> None:
    """Update the claimed speech.

    Raises:
        ClaimLost: it is not ours any more.
    """
    # The task too: of a forgotten one the speech's number may have been given anew, a task's never is.
    same = (speeches.c.id == claimed.speech, speeches.c.task == claimed.task, speeches.c.token == claimed.token)
    moved = connection.execute(update(speeches).where(*same, speeches.c.state == _PROCESSING).values(values))
    if moved.rowcount != 1:
        raise ClaimLost(f"{claimed.task_id}: {claimed.file_name} is no longer in this worker's hands")


def enter(connection: Connection, claims: Sequence[Claim]) -> None:
    """Record that these speeches enter the engine in one call.

    Alone it is an attempt: should the engine or this process die, it was this speech. In company nobody could say whose
    fault it was: no attempt is counted, and who finds them marked speaks them one by one.
    """
    values = {"attempts": speeches.c.attempts + 1} if len(claims) == 1 else {"in_company": True}
    for claimed in claims:
        change(connection, claimed, **values)


def leave(connection: Connection, claims: Sequence[Claim]) -> None:
    """Take back what `enter` recorded of them: the daemon itself ended their call.

    None of a company was marked before, for whoever is spoken alone.
    """
    values = {"attempts": speeches.c.attempts - 1} if len(claims) == 1 else {"in_company": False}
    for claimed in claims:
        change(connection, claimed, **values)


def advance(connection: Connection, gain: Gain) -> None:
    """Record what a call brought a speech, which has shown that it harms nobody."""
    change(
        connection,
        gain.claimed,
        attempts=0,
        in_company=False,
        error=None,
        segments_done=speeches.c.segments_done + gain.segments,
        audio_seconds=speeches.c.audio_seconds + gain.audio_seconds,
        process_time=speeches.c.process_time + gain.process_time,
    )


def give_back(connection: Connection, claimed: Claim) -> None:
    """Put the claimed speech back among the waiting, and its task too unless another file of it is in work."""
    change(connection, claimed, state=State.PENDING)
    idle = ~select(speeches.c.id).where(speeches.c.task == tasks.c.id, speeches.c.state == _PROCESSING).exists()
    back = update(tasks).where(tasks.c.id == claimed.task, tasks.c.state == State.PROCESSING, idle)
    connection.execute(back.values(state=State.PENDING))


def finish(connection: Connection, claimed: Claim, state: State, error: str | None = None) -> None:
    """End the claimed speech, and its task with the last one."""
    change(connection, claimed, state=state, error=error)
    settle(connection, claimed.task)


def settle(connection: Connection, task: int) -> None:
    """End a task of which no speech is unfinished."""
    counts = select(speeches.c.state, func.count()).where(speeches.c.task == task).group_by(speeches.c.state)
    found: dict[str, int] = {state: count for state, count in connection.execute(counts)}
    if found.get(State.PENDING) or found.get(State.PROCESSING):
        return
    state = _final_state(found)
    ended = update(tasks).where(tasks.c.id == task, tasks.c.finished_at.is_(None))
    connection.execute(
        ended.values(state=state, error=_task_error(connection, task, state, found), finished_at=time.time())
    )


def _final_state(found: Mapping[str, int]) -> State:
    if found.get(State.CANCELLED):
        return State.CANCELLED
    return State.COMPLETED if found.get(State.COMPLETED) else State.FAILED


def _task_error(connection: Connection, task: int, state: State, found: Mapping[str, int]) -> str | None:
    if state is State.COMPLETED:
        return None
    if state is State.CANCELLED:
        return str(State.CANCELLED)
    error: str | None = connection.scalar(
        select(speeches.c.error).where(speeches.c.task == task).order_by(speeches.c.position).limit(1)
    )
    files = sum(found.values())
    return error if files == 1 else f"none of {files} files could be made; the first: {error}"


#: States of speeches that a retry puts back.
MISSING = (State.FAILED, State.CANCELLED)
#: What a retry forgets of a speech.
_FRESH = {
    "state": State.PENDING,
    "attempts": 0,
    "in_company": False,
    "segments_done": 0,
    "segments_total": None,
    "audio_seconds": 0.0,
    "process_time": 0.0,
    "error": None,
}


def put_back(connection: Connection, task: int) -> None:
    """Put a task that is over back among the waiting, with those of its files that are not there."""
    missing = speeches.c.state.in_(MISSING)
    connection.execute(update(speeches).where(speeches.c.task == task, missing).values(_FRESH))
    back = update(tasks).where(tasks.c.id == task, tasks.c.state.in_(sources(State.PENDING)))
    connection.execute(
        back.values(state=State.PENDING, error=None, started_at=None, finished_at=None, cancel_requested=False)
    )
