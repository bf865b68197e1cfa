"""Tasks out of the ledger: one, a page, the counts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, case, func, literal_column, or_, select

from daemon.store.schema import drop_tasks, speeches, tasks
from daemon.tasks import STATUS_OF, State, Task


def _summed(select_tasks: Select[Any]) -> Select[Any]:
    """Each selected task with its speeches summed up, newest first."""
    chosen = select_tasks.subquery("chosen")
    done = speeches.c.state == State.COMPLETED
    fraction = speeches.c.segments_done * 1.0 / speeches.c.segments_total
    return (
        select(
            chosen,
            func.count().label("total_files"),
            func.sum(case((done, 1), else_=0)).label("completed_files"),
            func.sum(speeches.c.segments_done).label("segments_done"),
            func.sum(speeches.c.segments_total).label("segments_total"),
            func.count(speeches.c.segments_total).label("files_split"),
            func.avg(case((done, 1.0), else_=func.coalesce(fraction, 0.0))).label("progress"),
            func.max(speeches.c.attempts).label("attempts"),
            func.sum(speeches.c.process_time).label("process_time"),
            func.sum(speeches.c.audio_seconds).label("audio_seconds"),
            case((chosen.c.state == State.PENDING, _waiting_before(chosen))).label("queue_position"),
        )
        .join(speeches, speeches.c.task == chosen.c.id)
        .group_by(chosen.c.id)
        .order_by(chosen.c.id.desc())
    )


def _waiting_before(chosen: Any) -> Any:
    other = tasks.alias("other")
    earlier = or_(
        other.c.priority > chosen.c.priority, (other.c.priority == chosen.c.priority) & (other.c.id < chosen.c.id)
    )
    waiting = other.c.state == literal_column(f"'{State.PENDING}'")
    return select(func.count()).select_from(other).where(waiting, earlier).scalar_subquery()


def one(connection: Connection, row: int) -> Task | None:
    """The task of this row, or None."""
    found = connection.execute(_summed(select(tasks).where(tasks.c.id == row))).first()
    return _tasks(connection, [found])[0] if found else None


def page(connection: Connection, states: Iterable[State] | None, limit: int, before: int | None) -> list[Task]:
    """At most `limit` tasks in these states, newest first, of rows below `before`."""
    chosen = select(tasks).order_by(tasks.c.id.desc()).limit(limit)
    if states is not None:
        chosen = chosen.where(tasks.c.state.in_(tuple(states)))
    if before is not None:
        chosen = chosen.where(tasks.c.id < before)
    return _tasks(connection, connection.execute(_summed(chosen)).all())


def of_drop(connection: Connection, uid: str) -> list[Task]:
    """The tasks a dropped file stands for, in its order."""
    rows = connection.scalars(
        select(drop_tasks.c.task).where(drop_tasks.c.uid == uid).order_by(drop_tasks.c.position)
    ).all()
    found = [one(connection, row) for row in rows]
    return [task for task in found if task is not None]


def counts(connection: Connection) -> dict[str, int]:
    """How many tasks there are of each of the document's four words."""
    result = dict.fromkeys(("pending", "processing", "completed", "failed"), 0)
    for state, count in connection.execute(select(tasks.c.state, func.count()).group_by(tasks.c.state)):
        result[STATUS_OF[State(state)]] += count
    return result


def oldest_pending_seconds(connection: Connection) -> float | None:
    """How long the oldest waiting task has waited, or None."""
    since = connection.scalar(select(func.min(tasks.c.created_at)).where(tasks.c.state == State.PENDING))
    return None if since is None else round(max(time.time() - since, 0.0), 3)


def accepted(connection: Connection) -> int:
    """How many tasks this ledger has ever accepted."""
    return connection.scalar(select(func.max(tasks.c.id))) or 0


def _tasks(connection: Connection, rows: Sequence[Row[Any]]) -> list[Task]:
    failures = _failures(connection, [row.id for row in rows if row.batch])
    return [_task(row, failures.get(row.id, ())) for row in rows]


def _failures(connection: Connection, batches: list[int]) -> dict[int, tuple[tuple[str, str], ...]]:
    failed = speeches.c.state.in_((State.FAILED, State.CANCELLED))
    columns = (speeches.c.task, speeches.c.file_name, speeches.c.error)
    found: dict[int, list[tuple[str, str]]] = {}
    if batches:
        query = select(*columns).where(speeches.c.task.in_(batches), failed).order_by(speeches.c.position)
        for task, name, error in connection.execute(query):
            found.setdefault(task, []).append((name, error or ""))
    return {task: tuple(failures) for task, failures in found.items()}


_PLAIN_FIELDS = (
    *("batch", "priority", "infer_mode", "prompt", "seed", "format", "output_path", "directory", "error"),
    *("created_at", "started_at", "finished_at", "cancel_requested", "total_files", "completed_files"),
    *("segments_done", "progress", "attempts", "process_time", "audio_seconds", "queue_position"),
)


def _task(row: Row[Any], failures: tuple[tuple[str, str], ...]) -> Task:
    plain = {name: getattr(row, name) for name in _PLAIN_FIELDS}
    total = row.segments_total if row.files_split == row.total_files else None
    return Task(n=row.id - 1, state=State(row.state), segments_total=total, failures=failures, **plain)
