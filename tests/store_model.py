"""What the ledger promises, as plain objects: the machine of `reliability/test_store_promises.py` compares the two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from daemon.errors import BadRequest, QueueFull
from daemon.tasks import BATCH_MODE, OVER, NewTask, State

UNFINISHED = (State.PENDING, State.PROCESSING)


@dataclass(eq=False)
class Speech:
    """One file to make, and what must be known of it."""

    task: ModelTask
    position: int
    name: str
    text: str
    state: State = State.PENDING
    error: str | None = None
    attempts: int = 0
    in_company: bool = False
    segments_done: int = 0
    segments_total: int | None = None
    digest: str | None = None

    @property
    def facts(self) -> tuple[Any, ...]:
        """As the ledger's row must be, in the order of `COLUMNS`."""
        counted = (self.attempts, self.in_company, self.segments_done, self.segments_total, self.digest)
        return (self.task.n + 1, self.position, self.state, *counted)

    @property
    def may_join(self) -> bool:
        fresh = self.attempts == 0 and not self.in_company
        return self.state is State.PENDING and self.task.new.infer_mode == BATCH_MODE and fresh

    def end(self, state: State, error: str | None = None) -> None:
        """It is over, and its task too if it was the last."""
        self.state, self.error = state, error
        self.task.settle()

    def back(self) -> None:
        """It waits again, unless its task is to end."""
        if self.task.cancel_requested:
            self.end(State.CANCELLED, "cancelled")
            return
        self.state = State.PENDING
        if all(other.state is not State.PROCESSING for other in self.task.speeches):
            self.task.state = State.PENDING


COLUMNS = "task, position, state, attempts, in_company, segments_done, segments_total, digest"


@dataclass(eq=False)
class ModelTask:
    """An accepted request. `n` and `task_id` are the ledger's to give, once."""

    new: NewTask
    n: int = -1
    task_id: str = ""
    state: State = State.PENDING
    cancel_requested: bool = False
    started: bool = False
    finished_at: float | None = None
    speeches: list[Speech] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.state in OVER

    def accepted(self, n: int, task_id: str) -> None:
        self.n, self.task_id = n, task_id
        names = [name or f"{task_id}.wav" for name in self.new.speeches]
        texts = self.new.speeches.values()
        self.speeches = [Speech(self, at, *pair) for at, pair in enumerate(zip(names, texts, strict=True))]

    def settle(self) -> None:
        found = {speech.state for speech in self.speeches}
        if found & set(UNFINISHED):
            return
        order = (State.CANCELLED, State.COMPLETED, State.FAILED)
        self.state = next(state for state in order if state in found)

    def cancel(self) -> None:
        self.cancel_requested = True
        for speech in self.speeches:
            if speech.state is State.PENDING:
                speech.state, speech.error = State.CANCELLED, "cancelled"
        self.settle()

    def retry(self) -> None:
        self.state, self.cancel_requested, self.started, self.finished_at = State.PENDING, False, False, None
        for speech in self.speeches:
            if speech.state in (State.FAILED, State.CANCELLED):
                speech.state, speech.error = State.PENDING, None
                speech.attempts, speech.in_company = 0, False
                speech.segments_done, speech.segments_total = 0, None


@dataclass(eq=False)
class Drop:
    """A dropped file and the tasks it stands for."""

    tasks: list[ModelTask]
    archived: bool = False

    @property
    def ended(self) -> bool:
        return not self.archived and all(task.over for task in self.tasks)


class Model:
    """All that was accepted and is not forgotten."""

    def __init__(self) -> None:
        self.tasks: list[ModelTask] = []
        self.drops: dict[str, Drop] = {}
        self.count = 0

    def answer(self, new: Sequence[NewTask], limit: int | None) -> list[ModelTask] | type[Exception]:
        """What must become of a request: the tasks it stands for, or its refusal. Changes nothing."""
        answer: list[ModelTask] = []
        for item in new:
            known = self._known(item, answer)
            if known and known.new.body_hash != item.body_hash:
                return BadRequest
            fresh = [task for task in answer if task.n < 0]
            if not known and limit is not None and len(self.of(State.PENDING)) + len(set(fresh)) >= limit:
                return QueueFull
            if not known and self._promised(item, item.speeches, fresh):
                return BadRequest
            answer.append(known or ModelTask(item))
        return answer

    def _known(self, new: NewTask, answer: list[ModelTask]) -> ModelTask | None:
        key = new.idempotency_key
        return next((task for task in [*self.tasks, *answer] if key and task.new.idempotency_key == key), None)

    def may_be_retried(self, task: ModelTask) -> bool:
        missing = [speech.name for speech in task.speeches if speech.state is not State.COMPLETED]
        return task.over and bool(missing) and not self._promised(task.new, missing, [])

    def _promised(self, new: NewTask, wanted: Iterable[str], fresh: list[ModelTask]) -> bool:
        if not new.batch or new.overwrite:
            return False
        names = {speech.name for speech in self.speeches() if speech.task.new.batch and speech.state in UNFINISHED}
        names |= {name for task in fresh if task.new.batch for name in task.new.speeches}
        return bool(names.intersection(wanted))

    def accept(self, answer: list[ModelTask], ids: list[str]) -> None:
        """Take the ledger's ids for what is new; they count without a gap."""
        for task, task_id in zip(answer, ids, strict=True):
            if task.n < 0:
                task.accepted(self.count, task_id)
                self.tasks.append(task)
                self.count += 1
            assert task.task_id == task_id

    def of(self, *states: State) -> list[ModelTask]:
        return [task for task in self.tasks if task.state in states]

    def speeches(self, *states: State) -> Iterator[Speech]:
        """In the order of acceptance."""
        return (speech for task in self.tasks for speech in task.speeches if not states or speech.state in states)

    def next(self) -> Speech | None:
        """Who is claimed next: the most urgent, of those the first accepted."""
        return max(self.speeches(State.PENDING), key=lambda speech: speech.task.new.priority, default=None)

    def mate(self, priority: int) -> Speech | None:
        joinable = (speech for speech in self.speeches() if speech.may_join and speech.task.new.priority == priority)
        return next(joinable, None)

    def prune(self, before: float) -> list[ModelTask]:
        """Forget what ended before that moment and no dropped file waits for; returns it."""
        awaited = {task for drop in self.drops.values() if not drop.archived for task in drop.tasks}
        old = [task for task in self.tasks if task.finished_at is not None and task.finished_at < before]
        gone = [task for task in old if task not in awaited]
        self.tasks = [task for task in self.tasks if task not in gone]
        for drop in self.drops.values():
            drop.tasks = [task for task in drop.tasks if task not in gone]
        self.drops = {uid: drop for uid, drop in self.drops.items() if drop.tasks}
        return gone
