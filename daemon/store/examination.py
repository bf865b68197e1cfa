"""What `indexttsd db check` sees in a ledger: whether its pages are whole, and whether its rows keep the promises."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.store import backups, identity
from daemon.store.faults import RECOVER
from daemon.store.looking import look
from daemon.store.schema import REVISION

#: A promise -> how many rows break it: at any moment none, whether a daemon is at work or was killed.
_BROKEN: Mapping[str, str] = {
    "the files of a task that is over are over": (
        "SELECT COUNT(*) FROM tasks t WHERE t.finished_at IS NOT NULL AND EXISTS"
        " (SELECT 1 FROM speeches s WHERE s.task = t.id AND s.state IN ('pending', 'processing'))"
    ),
    "a task without unfinished files is over": (
        "SELECT COUNT(*) FROM tasks t WHERE t.finished_at IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM speeches s WHERE s.task = t.id AND s.state IN ('pending', 'processing'))"
    ),
    "a task has a time of its end if it is over, and only then": (
        "SELECT COUNT(*) FROM tasks WHERE (finished_at IS NULL) = (state IN ('completed', 'failed', 'cancelled'))"
    ),
    "the task of a file in work is in work": (
        "SELECT COUNT(*) FROM speeches s JOIN tasks t ON t.id = s.task"
        " WHERE s.state = 'processing' AND t.state != 'processing'"
    ),
    "a file that is not over has its text": (
        "SELECT COUNT(*) FROM speeches s WHERE s.state IN ('pending', 'processing')"
        " AND NOT EXISTS (SELECT 1 FROM texts x WHERE x.speech = s.id)"
    ),
    "a completed task has a completed file": (
        "SELECT COUNT(*) FROM tasks t WHERE t.state = 'completed'"
        " AND NOT EXISTS (SELECT 1 FROM speeches s WHERE s.task = t.id AND s.state = 'completed')"
    ),
    "a dropped file that is not archived has its tasks": (
        "SELECT COUNT(*) FROM drops d WHERE NOT d.archived"
        " AND NOT EXISTS (SELECT 1 FROM drop_tasks x WHERE x.uid = d.uid)"
    ),
    "a task's number is not given again": (
        "SELECT COUNT(*) FROM tasks WHERE id > (SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'tasks')"
    ),
}


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes:
        revision: of the tables. size: bytes on the disk, the log included.
        tasks: how many there are in each state. in_work: how many files are being spoken, or were when a daemon died.
        problems: sentences, each about something that must not be; none in a sound ledger.
    """

    file: Path
    revision: str
    size: int
    tasks: Mapping[str, int]
    in_work: int
    problems: tuple[str, ...]


def examine(file: Path) -> Examination:
    """Look at a ledger, or at a backup of one, without touching it; a daemon may be using it.

    Raises:
        LedgerDamaged: it is damaged, gone, or no ledger.
        ConfigError, LedgerUnavailable, LedgerBroken: it cannot be looked at.
    """
    revision = identity.revision(file)
    tasks, in_work, problems = look(file, _damage_and_counts)
    if revision > REVISION:
        problems.append(f"revision {revision} is of a newer indexttsd: what its rows promise is not known here")
    else:
        problems += look(file, _broken)
    return Examination(file, revision, backups.size(file), tasks, in_work, tuple(problems))


def _damage_and_counts(connection: sqlite3.Connection) -> tuple[dict[str, int], int, list[str]]:
    connection.execute("BEGIN")
    tasks = dict(connection.execute("SELECT state, COUNT(*) FROM tasks GROUP BY state").fetchall())
    (in_work,) = connection.execute("SELECT COUNT(*) FROM speeches WHERE state = 'processing'").fetchone()
    return tasks, in_work, _damage(connection)


def _damage(connection: sqlite3.Connection) -> list[str]:
    faults = [fault for (fault,) in connection.execute("PRAGMA integrity_check(20)") if fault != "ok"]
    strays = connection.execute("PRAGMA foreign_key_check").fetchall()[:20]
    return [f"SQLite finds: {' '.join(fault.split())}; {RECOVER}" for fault in faults] + [
        f"row {row} of {table} belongs to a row of {parent} that is not there" for table, row, parent, _ in strays
    ]


def _broken(connection: sqlite3.Connection) -> list[str]:
    connection.execute("BEGIN")
    counted = {promise: connection.execute(query).fetchone()[0] for promise, query in _BROKEN.items()}
    return [f"not so in {count} rows: {promise}" for promise, count in counted.items() if count]
