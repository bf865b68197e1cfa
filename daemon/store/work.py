"""The worker's side of the ledger: claim, progress, and the ends of a speech and of its task."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, literal_column, select, update

from daemon.errors import IndexttsdError
from daemon.store.schema import speeches, tasks, texts
from daemon.tasks import State, format_id


class ClaimLost(IndexttsdError):
    """The speech is no longer the one that was claimed: it ended meanwhile, or was claimed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A speech in the worker's hands.

    Attributes:
        speech, task: rows in the ledger. token: guards every later change of this claim.
        attempts: how often it has been in the engine since its last finished segment, before this claim.
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
    attempts: int
    last_error: str | None
    digest: str | None


# The state stands in the statement as written, not as a parameter: so SQLite sees that the partial index fits.
_PENDING: ColumnElement[str] = literal_column(f"'{State.PENDING}'")
_PROCESSING: ColumnElement[str] = literal_column(f"'{State.PROCESSING}'")
_NEXT = (
    select(speeches.c.id)
    .where(speeches.c.state == _PENDING)
    .order_by(speeches.c.priority.desc(), speeches.c.task, speeches.c.position)
    .limit(1)
    .scalar_subquery()
)
_CLAIM = (
    update(speeches)
    .where(speeches.c.id == _NEXT)
    .values(state=State.PROCESSING, token=speeches.c.token + 1)
    .returning(speeches)
)


def claim(connection: Connection) -> Claim | None:
    """Take the next waiting speech: highest priority first, then the oldest task, then its files in order."""
    speech = connection.execute(_CLAIM).first()
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
        attempts=speech.attempts,
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
    ours = (speeches.c.id == claimed.speech, speeches.c.token == claimed.token, speeches.c.state == _PROCESSING)
    moved = connection.execute(update(speeches).where(*ours).values(values))
    if moved.rowcount != 1:
        raise ClaimLost(f"{claimed.task_id}: {claimed.file_name} is no longer in this worker's hands")


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
