"""New tasks into the ledger: idempotency, the queue's limit, promised file names."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, func, insert, select

from daemon.errors import BadRequest, Conflict, QueueFull
from daemon.store import work
from daemon.store.schema import drop_tasks, drops, speeches, tasks, texts
from daemon.tasks import BATCH_MODE, NewTask, Receipt, State, format_id, parse_id

_UNFINISHED = (State.PENDING, State.PROCESSING)


def add(connection: Connection, new: Sequence[NewTask | Receipt], queue_limit: int | None) -> list[Receipt]:
    """Insert tasks in order; a known idempotency key yields its first task instead, a receipt itself.

    Raises:
        QueueFull: `queue_limit` tasks wait already; None takes any number.
        BadRequest: a key was used for another body, or a file name is promised; `index` says which of several.
    """
    return [task if isinstance(task, Receipt) else _add_one(connection, task, queue_limit) for task in new]


def _add_one(connection: Connection, task: NewTask, queue_limit: int | None) -> Receipt:
    # Asked again inside the transaction: two clients may have brought the same key at the same time.
    known = replayed(connection, task.idempotency_key, task.body_hash, task.index)
    if known:
        return known
    check_room(connection, queue_limit)
    _check_promises(connection, task)
    return _insert(connection, task)


def replayed(connection: Connection, key: str | None, body_hash: str | None, index: int | None) -> Receipt | None:
    """The receipt of the task that this key was first used for, or None.

    Raises:
        BadRequest: it was used for another body.
    """
    if key is None:
        return None
    row = connection.execute(select(tasks).where(tasks.c.idempotency_key == key)).first()
    if row is None:
        return None
    if row.body_hash != body_hash:
        raise BadRequest(f"the idempotency key {key!r} was used for another request; take a new one", index=index)
    files = connection.scalar(select(func.count()).where(speeches.c.task == row.id))
    task_id = format_id(row.batch, row.created_at, row.id - 1)
    return Receipt(task_id=task_id, batch=row.batch, total_files=files or 0)


def add_drop(connection: Connection, uid: str, name: str, receipts: Sequence[Receipt]) -> None:
    """Record that the dropped file `uid` became these tasks."""
    connection.execute(insert(drops).values(uid=uid, name=name, created_at=time.time()))
    rows = [{"uid": uid, "position": at, "task": row_id(receipt.task_id)} for at, receipt in enumerate(receipts)]
    connection.execute(insert(drop_tasks), rows)


def row_id(task_id: str) -> int | None:
    """The `tasks.id` a public id stands for; None if it is no id."""
    n = parse_id(task_id)
    return None if n is None else n + 1


def check_room(connection: Connection, limit: int | None) -> None:
    """Pass if another task may wait.

    Raises:
        QueueFull
    """
    if limit is not None and waiting(connection) >= limit:
        raise QueueFull(f"{limit} tasks are waiting already (limits.queue); try again later")


def waiting(connection: Connection) -> int:
    """How many tasks wait."""
    return connection.scalar(select(func.count()).where(tasks.c.state == State.PENDING)) or 0


def check_retry(connection: Connection, task: int) -> None:
    """Pass if no other batch will write the files that this one is to try once more.

    Raises:
        Conflict
    """
    careful = select(tasks.c.directory).where(tasks.c.id == task, tasks.c.batch, ~tasks.c.overwrite)
    directory = connection.scalar(careful)
    again = select(speeches.c.file_name).where(speeches.c.task == task, speeches.c.state.in_(work.MISSING))
    if directory and (taken := _promised(connection, directory, connection.scalars(again))):
        raise Conflict(taken)


def _check_promises(connection: Connection, task: NewTask) -> None:
    careful = task.batch and not task.overwrite
    if careful and (taken := _promised(connection, task.directory, task.speeches)):
        raise BadRequest(taken, index=task.index)


def _promised(connection: Connection, directory: str, names: Iterable[str]) -> str | None:
    """Which of these names unfinished batches will write in the folder, as a sentence; None if they will write none."""
    promised = (
        select(speeches.c.file_name)
        .join(tasks, tasks.c.id == speeches.c.task)
        .where(tasks.c.directory == directory, tasks.c.finished_at.is_(None), tasks.c.batch)
        .where(speeches.c.state.in_(_UNFINISHED))
    )
    taken = ", ".join(sorted(set(connection.scalars(promised)).intersection(names))[:10])
    return f"another unfinished batch will write {taken} in the same directory; wait for it" if taken else None


def _insert(connection: Connection, task: NewTask) -> Receipt:
    now = time.time()
    columns = {
        name: getattr(task, name)
        for name in (
            *("batch", "priority", "infer_mode", "prompt", "seed", "format", "options", "overwrite"),
            *("output_path", "directory", "idempotency_key", "body_hash"),
        )
    }
    statement = insert(tasks).values(state=State.PENDING, created_at=now, **columns).returning(tasks.c.id)
    task_row = connection.execute(statement).scalar_one()
    task_id = format_id(task.batch, now, task_row - 1)
    _insert_speeches(connection, task_row, task, task_id)
    return Receipt(task_id=task_id, batch=task.batch, total_files=len(task.speeches))


def _insert_speeches(connection: Connection, row: int, task: NewTask, task_id: str) -> None:
    """All speeches in two statements: a batch may have a hundred thousand, and everybody else waits for the writer."""
    names = [name or f"{task_id}.{task.format}" for name in task.speeches]
    batched = task.infer_mode == BATCH_MODE
    common = {"task": row, "priority": task.priority, "state": State.PENDING, "batched": batched}
    rows = [common | {"position": position, "file_name": name} for position, name in enumerate(names)]
    connection.execute(insert(speeches), rows)
    ids = connection.scalars(select(speeches.c.id).where(speeches.c.task == row).order_by(speeches.c.position))
    pairs = zip(ids.all(), task.speeches.values(), strict=True)
    connection.execute(insert(texts), [{"speech": speech, "text": text} for speech, text in pairs])
