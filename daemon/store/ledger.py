"""The ledger's face: one method per change or question, one transaction each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from daemon.errors import Conflict, NotFound
from daemon.store import accepting, database, pruning, reading, work
from daemon.store.connections import Connections
from daemon.store.schema import drop_tasks, drops, speeches, tasks
from daemon.store.work import Claim, ClaimLost, Gain
from daemon.tasks import OVER, NewTask, Receipt, State, Task

__all__ = ["Claim", "ClaimLost", "Drop", "Gain", "Store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A dropped file that became tasks. `kept_as`: where it goes (`done/NAME`, `failed/NAME`), once chosen."""

    uid: str
    name: str
    kept_as: str | None


class Store:
    """All tasks, durable. Every method is safe from any thread.

    Raises:
        ConfigError: on opening, when the file is no ledger of this version.
        LedgerUnavailable, LedgerBroken, LedgerDamaged: from any method; see `Connections`.
    """

    def __init__(self, file: Path) -> None:
        database.prepare(file)
        self._connections = Connections(file)

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()

    # The doors

    def submit(self, new: Sequence[NewTask | Receipt], queue_limit: int | None) -> list[Receipt]:
        """Accept tasks, all or none; durable when it returns. Raises as `accepting.add`."""
        with self._connections.writing() as connection:
            return accepting.add(connection, new, queue_limit)

    def submit_drop(self, uid: str, name: str, new: Sequence[NewTask | Receipt]) -> list[Receipt]:
        """Accept the tasks of a dropped file, all or none. The folder holds the queue's limit, not this."""
        with self._connections.writing() as connection:
            receipts = accepting.add(connection, new, None)
            accepting.add_drop(connection, uid, name, receipts)
            return receipts

    def replayed(self, key: str | None, body_hash: str | None, index: int | None = None) -> Receipt | None:
        """The receipt this idempotency key was answered with before, or None. Raises as `accepting.replayed`."""
        with self._connections.reading() as connection:
            return accepting.replayed(connection, key, body_hash, index)

    def room(self, queue_limit: int) -> bool:
        """Whether another task may wait."""
        with self._connections.reading() as connection:
            return accepting.waiting(connection) < queue_limit

    def require_room(self, queue_limit: int) -> None:
        """Pass if another task may wait.

        Raises:
            QueueFull
        """
        with self._connections.reading() as connection:
            accepting.check_room(connection, queue_limit)

    def cancel(self, task_id: str) -> Task:
        """End a task, at once if nothing of it is being spoken, else at its next segment.

        Raises:
            NotFound, Conflict
        """
        with self._connections.writing() as connection:
            task = self._get(connection, task_id)
            if task.state in OVER:
                raise Conflict(f"Task '{task_id}' is over ({task.state}); it cannot be cancelled")
            row = task.n + 1
            waiting = update(speeches).where(speeches.c.task == row, speeches.c.state == State.PENDING)
            connection.execute(waiting.values(state=State.CANCELLED, error=str(State.CANCELLED)))
            connection.execute(update(tasks).where(tasks.c.id == row).values(cancel_requested=True))
            work.settle(connection, row)
            return self._get(connection, task_id)

    def retry(self, task_id: str) -> Task:
        """Put a failed or cancelled task back, of a batch the files that are not there.

        Raises:
            NotFound, Conflict
        """
        with self._connections.writing() as connection:
            task = self._get(connection, task_id)
            if task.state not in OVER or task.completed_files == task.total_files:
                raise Conflict(f"Task '{task_id}' is {task.state}; only what failed or was cancelled can be retried")
            accepting.check_retry(connection, task.n + 1)
            work.put_back(connection, task.n + 1)
            return self._get(connection, task_id)

    # Questions

    def task(self, task_id: str) -> Task:
        """One task. Raises NotFound."""
        with self._connections.reading() as connection:
            return self._get(connection, task_id)

    def tasks(self, states: Iterable[State] | None, limit: int, after: str | None) -> list[Task]:
        """A page of tasks, newest first, older than the task `after`."""
        before = None if after is None else accepting.row_id(after)
        with self._connections.reading() as connection:
            return reading.page(connection, states, limit, before)

    def stats(self) -> tuple[dict[str, int], float | None]:
        """Counts by the document's words, and the age of the oldest waiting task in seconds."""
        with self._connections.reading() as connection:
            return reading.counts(connection), reading.oldest_pending_seconds(connection)

    def accepted(self) -> int:
        """How many tasks were ever accepted."""
        with self._connections.reading() as connection:
            return reading.accepted(connection)

    def _get(self, connection: Connection, task_id: str) -> Task:
        row = accepting.row_id(task_id)
        task = None if row is None else reading.one(connection, row)
        if task is None or task.task_id != task_id:
            raise NotFound(f"Task with ID '{task_id}' not found")
        return task

    # The worker

    def orphans(self) -> list[Claim]:
        """What is in work, seen at a start: nobody works on it, and its litter is to be swept."""
        with self._connections.reading() as connection:
            return work.orphans(connection)

    def recover(self) -> None:
        """Put back what a dead daemon left in work."""
        with self._connections.writing() as connection:
            for orphan in work.orphans(connection):
                self._end_or_give_back(connection, orphan)
            stray = update(tasks).where(tasks.c.state == State.PROCESSING)
            connection.execute(stray.values(state=State.PENDING))

    def _end_or_give_back(self, connection: Connection, claimed: Claim) -> None:
        cancelled = connection.scalar(select(tasks.c.cancel_requested).where(tasks.c.id == claimed.task))
        if cancelled:
            work.finish(connection, claimed, State.CANCELLED, str(State.CANCELLED))
        else:
            work.give_back(connection, claimed)

    def unfinished(self) -> set[int]:
        """The speeches that are not over."""
        states = (State.PENDING, State.PROCESSING)
        with self._connections.reading() as connection:
            return set(connection.scalars(select(speeches.c.id).where(speeches.c.state.in_(states))))

    def claim(self) -> Claim | None:
        """Take the next waiting speech, or None."""
        with self._connections.writing() as connection:
            return work.claim(connection)

    def claim_mate(self, priority: int) -> Claim | None:
        """Take the next waiting speech of this priority that may share the engine's calls, or None."""
        with self._connections.writing() as connection:
            return work.claim_mate(connection, priority)

    def waits(self, above: int = -1) -> bool:
        """Whether a speech waits, of a priority above this one."""
        with self._connections.reading() as connection:
            return work.waits(connection, above)

    def cancel_requested(self, *claims: Claim) -> set[int]:
        """Those of these speeches whose task a client wants to end."""
        wanted = select(tasks.c.id).where(
            tasks.c.id.in_({claimed.task for claimed in claims}), tasks.c.cancel_requested
        )
        with self._connections.reading() as connection:
            ending = set(connection.scalars(wanted))
        return {claimed.speech for claimed in claims if claimed.task in ending}

    def planned(self, claimed: Claim, segments_total: int, segments_done: int, *, survived: bool) -> None:
        """Record of how many segments a speech is made, and how many are kept from before.

        Args:
            survived: the engine has just cut the text and lives; attempts count from 0 again.
        """
        counted = {"attempts": 0} if survived else {}
        self._change(claimed, segments_total=segments_total, segments_done=segments_done, **counted)

    def enter(self, *claims: Claim) -> None:
        """Record that these speeches enter the engine together: an attempt of one alone, of none in company."""
        with self._connections.writing() as connection:
            work.enter(connection, claims)

    def leave(self, *claims: Claim) -> None:
        """Take back that these speeches entered the engine together: the daemon itself ended the call."""
        with self._connections.writing() as connection:
            work.leave(connection, claims)

    def advance(self, *gains: Gain) -> None:
        """Record what a call brought to those in it; their attempts count from 0 again."""
        with self._connections.writing() as connection:
            for gain in gains:
                work.advance(connection, gain)

    def publishing(self, claimed: Claim, digest: str) -> None:
        """Record the SHA-256 of the file that is about to appear under its final name."""
        self._change(claimed, digest=digest)

    def complete(self, claimed: Claim, audio_seconds: float) -> None:
        """The file is there: the speech is completed."""
        with self._connections.writing() as connection:
            work.change(connection, claimed, audio_seconds=audio_seconds)
            work.finish(connection, claimed, State.COMPLETED)

    def fail(self, claimed: Claim, error: str) -> None:
        """The speech cannot be made, for this reason."""
        with self._connections.writing() as connection:
            work.finish(connection, claimed, State.FAILED, error)

    def end_cancelled(self, claimed: Claim) -> None:
        """The speech ends because its task was cancelled."""
        with self._connections.writing() as connection:
            work.finish(connection, claimed, State.CANCELLED, str(State.CANCELLED))

    def give_back(self, claimed: Claim, error: str | None = None, **suspicion: int) -> None:
        """Put the speech back among the waiting, unless its task was cancelled meanwhile.

        Args:
            error: why. suspicion: `attempts` or `in_company` from now on. What is not given stays.
        """
        values: dict[str, Any] = suspicion if error is None else suspicion | {"error": error}
        with self._connections.writing() as connection:
            if values:
                work.change(connection, claimed, **values)
            self._end_or_give_back(connection, claimed)

    def _change(self, claimed: Claim, **values: Any) -> None:
        with self._connections.writing() as connection:
            work.change(connection, claimed, **values)

    # Dropped files

    def knows_drop(self, uid: str) -> bool:
        """Whether this dropped file's tasks were accepted."""
        with self._connections.reading() as connection:
            return connection.scalar(select(drops.c.uid).where(drops.c.uid == uid)) is not None

    def ended_drops(self) -> list[Drop]:
        """Dropped files not archived yet whose tasks are all over, oldest first."""
        unfinished = (
            select(tasks.c.id)
            .join(drop_tasks, drop_tasks.c.task == tasks.c.id)
            .where(drop_tasks.c.uid == drops.c.uid, tasks.c.finished_at.is_(None))
        )
        query = select(drops).where(~drops.c.archived, ~unfinished.exists()).order_by(drops.c.created_at)
        with self._connections.reading() as connection:
            rows = connection.execute(query).all()
        return [Drop(uid=row.uid, name=row.name, kept_as=row.kept_as) for row in rows]

    def tasks_of_drop(self, uid: str) -> list[Task]:
        """The tasks of a dropped file, in its order."""
        with self._connections.reading() as connection:
            return reading.of_drop(connection, uid)

    def keep_drop_as(self, uid: str, kept_as: str) -> None:
        """Record the name a dropped file is about to get in done/ or failed/."""
        with self._connections.writing() as connection:
            connection.execute(update(drops).where(drops.c.uid == uid).values(kept_as=kept_as))

    def archive_drop(self, uid: str) -> None:
        """Record that a dropped file lies in done/ or failed/."""
        with self._connections.writing() as connection:
            connection.execute(update(drops).where(drops.c.uid == uid).values(archived=True))

    def reopen_drops(self, uids: Iterable[str]) -> None:
        """Have files put away after all that lie in .claimed/ all the same: their folder was gone at the time."""
        with self._connections.writing() as connection:
            for uid in uids:
                archived = update(drops).where(drops.c.uid == uid, drops.c.archived)
                connection.execute(archived.values(archived=False))

    # Retention

    def prune(self, before: float) -> int:
        """Forget some tasks that ended before this moment (seconds since the epoch); how many, 0 if there is none."""
        with self._connections.reading() as connection:  # the look may be long, and keeps nobody waiting
            rows = pruning.bite(connection, before)
        if not rows:
            return 0
        with self._connections.writing() as connection:
            return pruning.forget(connection, rows, before)
