"""Tasks out of the ledger: one, a page, the counts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, case, func, literal_column, select, text

from daemon.store.schema import drop_tasks, speeches, tasks
from daemon.tasks import LISTED_ERRORS, STATUS_OF, State, Task


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
        )
        .join(speeches, speeches.c.task == chosen.c.id)
        .group_by(chosen.c.id)
        .order_by(chosen.c.id.desc())
    )


def _queue_position(connection: Connection, row: Row[Any]) -> int | None:
    """How many tasks go before a waiting one; two counts that each walk the index of what waits."""
    if row.state != State.PENDING:
        return None
    waiting = select(func.count()).where(tasks.c.state == literal_column(f"'{State.PENDING}'"))
    urgent = connection.scalar(waiting.where(tasks.c.priority > row.priority)) or 0
    earlier = connection.scalar(waiting.where(tasks.c.priority == row.priority, tasks.c.id < row.id)) or 0
    return urgent + earlier


def one(connection: Connection, row: int) -> Task | None:
    """The task of this row, or None."""
    found = connection.execute(_summed(select(tasks).where(tasks.c.id == row))).first()
    return _tasks(connection, [found])[0] if found else None


def page(connection: Connection, states: Iterable[State] | None, limit: int, before: int | None) -> list[Task]:
    """At most `limit` tasks in these states, newest first, of rows below `before`; LISTED_ERRORS failures of each."""
    chosen = select(tasks).order_by(tasks.c.id.desc()).limit(limit)
    if states is not None:
        chosen = chosen.where(tasks.c.state.in_(tuple(states)))
    if before is not None:
        chosen = chosen.where(tasks.c.id < before)
    return _tasks(connection, connection.execute(_summed(chosen)).all(), LISTED_ERRORS)


def of_drop(connection: Connection, uid: str) -> list[Task]:
    """The tasks a dropped file stands for, in its order."""
    order = select(drop_tasks.c.task).where(drop_tasks.c.uid == uid).order_by(drop_tasks.c.position)
    rows = connection.scalars(order).all()
    found = connection.execute(_summed(select(tasks).where(tasks.c.id.in_(order.order_by(None))))).all()
    by_row = {task.n + 1: task for task in _tasks(connection, found)}
    return [by_row[row] for row in rows if row in by_row]


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
    """How many tasks this ledger has ever accepted, the forgotten ones included."""
    highest = text("SELECT seq FROM sqlite_sequence WHERE name = 'tasks'")  # which AUTOINCREMENT keeps
    return connection.scalar(highest) or 0


def _tasks(connection: Connection, rows: Sequence[Row[Any]], most_failures: int | None = None) -> list[Task]:
    failures = _failures(connection, [row.id for row in rows if row.batch], most_failures)
    return [_task(row, failures.get(row.id, ()), _queue_position(connection, row)) for row in rows]


def _failures(connection: Connection, batches: list[int], most: int | None) -> dict[int, tuple[tuple[str, str], ...]]:
    """The failed files of each batch, the first `most` of them; SQLite reads no further in a batch than these."""
    of_one = speeches.alias()
    failed = of_one.c.state.in_((State.FAILED, State.CANCELLED))
    first = select(of_one.c.id).where(of_one.c.task == tasks.c.id, failed).order_by(of_one.c.position).limit(most)
    shown = tasks.join(speeches, speeches.c.id.in_(first.correlate(tasks)))
    found: dict[int, list[tuple[str, str]]] = {}
    if batches:
        query = select(tasks.c.id, speeches.c.file_name, speeches.c.error).select_from(shown)
        query = query.where(tasks.c.id.in_(batches)).order_by(speeches.c.position)
        for task, name, error in connection.execute(query):
            found.setdefault(task, []).append((name, error or ""))
    return {task: tuple(failures) for task, failures in found.items()}


_PLAIN_FIELDS = (
    *("batch", "priority", "infer_mode", "prompt", "seed", "format", "output_path", "directory", "error"),
    *("created_at", "started_at", "finished_at", "cancel_requested", "total_files", "completed_files"),
    *("segments_done", "progress", "attempts", "process_time", "audio_seconds"),
)


def _task(row: Row[Any], failures: tuple[tuple[str, str], ...], queue_position: int | None) -> Task:
    plain = {name: getattr(row, name) for name in _PLAIN_FIELDS}
    total = row.segments_total if row.files_split == row.total_files else None
    return Task(
        n=row.id - 1,
        state=State(row.state),
        segments_total=total,
        failures=failures,
        queue_position=queue_position,
        **plain,
    )
