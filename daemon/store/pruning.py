"""What the ledger forgets: tasks that ended long ago, with their speeches and texts.

That a dropped file was taken is never forgotten: it may lie on a disk that is away, and come back years later. The
ledger's file does not shrink; SQLite writes the next tasks into the pages that became free.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select
from sqlalchemy.dialects import sqlite

from daemon.store import identity
from daemon.store.looking import look
from daemon.store.schema import drop_tasks, drops, speeches, tasks, texts

#: Most tasks, and most files of them, that are forgotten at once while everybody else who writes waits: about 10 ms.
#: A task with more files goes alone; that takes no longer than its acceptance did.
_TASKS = 200
_FILES = 1000


def _forgettable(before: float) -> ColumnElement[bool]:
    """Ended before that moment, and no dropped file waits for it: its note tells of all its tasks."""
    awaited = select(drop_tasks.c.task).join(drops, drops.c.uid == drop_tasks.c.uid).where(~drops.c.archived)
    return and_(tasks.c.finished_at < before, tasks.c.id.not_in(awaited))


def bite(connection: Connection, before: float) -> list[int]:
    """Some rows of tasks that ended before this moment (seconds since the epoch), oldest acceptance first."""
    files = select(func.count()).where(speeches.c.task == tasks.c.id).scalar_subquery()
    chosen = select(tasks.c.id, files).where(_forgettable(before)).order_by(tasks.c.id).limit(_TASKS)
    found = connection.execute(chosen).all()
    sums = itertools.accumulate(count for _, count in found)
    fit = [row for (row, _), total in zip(found, sums, strict=True) if total <= _FILES]
    return fit or [row for row, _ in found[:1]]


def forget(connection: Connection, rows: Sequence[int], before: float) -> int:
    """Forget those of these tasks that still may be: one may have been retried meanwhile. Returns how many."""
    over = connection.scalars(select(tasks.c.id).where(tasks.c.id.in_(rows), _forgettable(before))).all()
    files = select(speeches.c.id).where(speeches.c.task.in_(over))
    connection.execute(delete(texts).where(texts.c.speech.in_(files)))
    connection.execute(delete(speeches).where(speeches.c.task.in_(over)))
    connection.execute(delete(drop_tasks).where(drop_tasks.c.task.in_(over)))
    connection.execute(delete(tasks).where(tasks.c.id.in_(over)))
    return len(over)


def count_forgettable(file: Path, before: float) -> int:
    """How many tasks of a ledger may be forgotten; nothing is written, a daemon may use it meanwhile.

    Raises:
        ConfigError: this user may not read it.
        LedgerUnavailable, LedgerBroken, LedgerDamaged: the last also when there is none.
    """
    identity.revision(file)
    query = select(func.count()).select_from(tasks).where(_forgettable(before))
    words = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    (count,) = look(file, lambda connection: connection.execute(words).fetchone())
    return int(count)
