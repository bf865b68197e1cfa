"""What stands in the notes beside files in done/ and failed/."""

from __future__ import annotations

import time
from collections.abc import Sequence

from daemon.errors import BadRequest, RequestRefused
from daemon.tasks import State, Task, timestamp, view


def fault(tasks: Sequence[Task]) -> str | None:
    """Why a file whose tasks have ended belongs into failed/; None if all it asked for was done."""
    return "; ".join(found for task in tasks if (found := _fault(task))) or None


def _fault(task: Task) -> str | None:
    if task.failures:
        return f"{task.task_id}: {len(task.failures)} of {task.total_files} files failed"
    return f"{task.task_id}: {task.error}" if task.state is not State.COMPLETED else None


def result(tasks: Sequence[Task]) -> object:
    """The note of a file all of whose tasks are completed."""
    return [view(task) for task in tasks]


def failure(detail: str, tasks: Sequence[Task]) -> object:
    """The note of a file not all of whose tasks are completed."""
    return _note({"detail": detail}, tasks)


def refusal(error: RequestRefused) -> object:
    """The note of a file that became no tasks."""
    note: dict[str, object] = {"detail": str(error)}
    if isinstance(error, BadRequest):
        places = {"line": error.line, "column": error.column, "index": error.index}
        note |= {key: value for key, value in places.items() if value is not None}
    return _note(note, [])


def _note(note: dict[str, object], tasks: Sequence[Task]) -> object:
    return note | {"tasks": [view(task) for task in tasks], "at": timestamp(time.time())}
