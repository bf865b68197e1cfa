"""Tasks as values: what a request may look like, which state may follow which, and how a task is shown."""

from __future__ import annotations

import datetime
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from daemon.schema import Strict

PLAIN_MODE: Literal["普通推理"] = "普通推理"
#: Segments of many tasks and voices may share one engine call.
BATCH_MODE: Literal["批次推理"] = "批次推理"
MAX_SEED = 2**32 - 1
#: How many errors of a batch a list shows: a page holds up to 1000 batches. The batch itself shows all.
LISTED_ERRORS = 100


class State(StrEnum):
    """Where a task or a speech is in its life.

    PENDING: accepted and waiting; the worker claims it, or a client cancels it.
    PROCESSING: at least one speech has been claimed. A stop or a crash puts it back to PENDING.
    COMPLETED: its file is there (of a batch: at least one).
    FAILED: it ended without a file, for the reason in `error`; a retry puts it back to PENDING.
    CANCELLED: a client ended it; clients see `failed` with the error `cancelled`. A retry puts it back to PENDING.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: Which state may follow which. A completed batch with failed files may be retried for those files.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.PROCESSING, State.CANCELLED}),
    State.PROCESSING: frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.PENDING}),
    State.COMPLETED: frozenset({State.PENDING}),
    State.FAILED: frozenset({State.PENDING}),
    State.CANCELLED: frozenset({State.PENDING}),
}
OVER = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})

#: The document knows four words; a cancelled task is `failed` to its clients.
STATUS_WORDS: Mapping[str, tuple[State, ...]] = {
    "pending": (State.PENDING,),
    "processing": (State.PROCESSING,),
    "completed": (State.COMPLETED,),
    "failed": (State.FAILED, State.CANCELLED),
}
STATUS_OF: Mapping[State, str] = {state: word for word, states in STATUS_WORDS.items() for state in states}


def sources(target: State) -> tuple[State, ...]:
    """The states from which `target` may be reached."""
    return tuple(state for state, targets in TRANSITIONS.items() if target in targets)


class _Request(Strict):
    infer_mode: Literal["普通推理", "批次推理"] = PLAIN_MODE
    prompt_path: str | None = None
    prompt_name: str | None = Field(None, json_schema_extra={"stands_for": "prompt_path"})
    priority: int = Field(5, ge=0, le=9)
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if self.prompt_path is not None and self.prompt_name is not None:
            raise ValueError("'prompt_path' and 'prompt_name' mean the same; give one of them")
        return self

    @property
    def prompt(self) -> str | None:
        """The prompt's name as asked for, or None for the configured default."""
        return self.prompt_path if self.prompt_path is not None else self.prompt_name


class TaskRequest(_Request):
    """The body of `POST /api/tts/tasks`: one text, one file."""

    folder_key: ClassVar[str] = "output_path"
    overwrite: ClassVar[bool] = False

    text: str
    output_path: str
    format: Literal["wav", "flac", "ogg", "mp3"] = "wav"

    @field_validator("text")
    @classmethod
    def _speakable(cls, text: str) -> str:
        return _not_blank(text, "'text'")

    @property
    def texts(self) -> Mapping[str, str]:
        """File name -> text; the file is named after the task, once it has an id."""
        return {"": self.text}


class BatchRequest(_Request):
    """The body of `POST /api/tts/batch_tasks`: many texts, one voice, each to a file of its own."""

    folder_key: ClassVar[str] = "output_directory"
    format: ClassVar[str] = "wav"

    output_directory: str
    speeches: dict[str, str] = Field(min_length=1)
    overwrite: bool = False

    @field_validator("speeches", mode="after")
    @classmethod
    def _plain_names(cls, speeches: dict[str, str]) -> dict[str, str]:
        if unsuited := [name for name in speeches if not name.lower().endswith(".wav")]:
            raise ValueError(f"All filenames must end with .wav extension. Invalid filenames: {', '.join(unsuited)}")
        for name, text in speeches.items():
            if fault := file_name_fault(name):
                raise ValueError(f"'speeches': the file name {name!r} {fault}")
            _not_blank(text, f"the text of {name!r}")
        return speeches

    @property
    def texts(self) -> Mapping[str, str]:
        """File name -> text."""
        return self.speeches


def _not_blank(text: str, what: str) -> str:
    if not text.strip():
        raise ValueError(f"{what} is blank; give the words to speak")
    return text


def file_name_fault(name: str) -> str | None:
    """What keeps `name` from being one plain file name, as the end of a sentence; None if nothing does."""
    if "/" in name or "\\" in name:
        return "must not contain a path"
    if name.startswith((".", "~")):
        return "must not begin with '.' or '~'"
    if any(unicodedata.category(sign) == "Cc" for sign in name):
        return "must not contain control characters"
    if len(name.encode()) > 255:
        return "is longer than 255 bytes"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A request that was found good, with everything fixed that it left open.

    Attributes:
        batch: whether it came as a batch; a single task's file is named after its id, a batch's are given.
        speeches: file name -> text; a single task has one, under the key "".
        output_path: the folder as shown to clients, absolute.
        directory: the same folder as it is used, normalised.
        idempotency_key, body_hash: both None unless the client named a key.
        index: its position in a dropped array, for errors; None if it came alone.
    """

    batch: bool
    speeches: Mapping[str, str]
    output_path: str
    directory: str
    infer_mode: str
    prompt: str
    priority: int
    seed: int
    format: str = "wav"
    options: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    idempotency_key: str | None = None
    body_hash: str | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The answer to an accepted task."""

    task_id: str
    batch: bool
    total_files: int

    def answer(self) -> dict[str, object]:
        """Exactly the keys of the document."""
        answer: dict[str, object] = {"task_id": self.task_id, "status": str(State.PENDING)}
        return answer | {"total_files": self.total_files} if self.batch else answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as the ledger knows it, its speeches summed up. Times are seconds since the epoch, UTC."""

    n: int
    batch: bool
    state: State
    priority: int
    infer_mode: str
    prompt: str
    seed: int
    format: str
    output_path: str
    directory: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    error: str | None
    cancel_requested: bool
    total_files: int
    completed_files: int
    segments_done: int
    segments_total: int | None
    progress: float
    attempts: int
    process_time: float
    audio_seconds: float
    queue_position: int | None
    failures: tuple[tuple[str, str], ...]  # (file name, error); in a list the first LISTED_ERRORS

    @property
    def task_id(self) -> str:
        """The public id."""
        return format_id(self.batch, self.created_at, self.n)

    @property
    def file_name(self) -> str:
        """Of a single task: the name of its file in `directory`."""
        return f"{self.task_id}.{self.format}"


_ID = re.compile(r"(task|batch)_([0-9]{1,15})_([0-9]{1,15})", re.ASCII)


def format_id(batch: bool, created_at: float, n: int) -> str:
    """The public id of the n-th accepted task, n from 0."""
    return f"{'batch' if batch else 'task'}_{int(created_at)}_{n}"


def parse_id(task_id: str) -> int | None:
    """The n in a public id, or None if it is none."""
    found = _ID.fullmatch(task_id)
    return int(found[3]) if found else None


def segment_seed(seed: int, index: int) -> int:
    """The seed of a task's segment: it depends on nothing else, so a resumed task sounds as an uninterrupted one."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:4])


def view(task: Task) -> dict[str, object]:
    """A task as clients see it: the document's keys, then ours. A key without a value is left out."""
    own = _batch_keys(task) if task.batch else _single_keys(task)
    return {key: value for key, value in (own | _common_keys(task)).items() if value is not None}


def _single_keys(task: Task) -> dict[str, object]:
    done = task.state is State.COMPLETED
    return {
        "task_id": task.task_id,
        "status": STATUS_OF[task.state],
        "output_path": task.output_path,
        "process_time": _process_time(task),
        "error": task.error,
        "output_file": f"{task.directory}/{task.file_name}" if done else None,
    }


def _batch_keys(task: Task) -> dict[str, object]:
    errors = [{"filename": name, "error": error} for name, error in task.failures]
    return {
        "task_id": task.task_id,
        "status": STATUS_OF[task.state],
        "output_directory": task.output_path,
        "total_files": task.total_files,
        "processed_files": task.completed_files,
        "process_time": _process_time(task),
        "errors": errors or None,
        "error": task.error,
    }


def _common_keys(task: Task) -> dict[str, object]:
    return {
        "infer_mode": task.infer_mode,
        "prompt": task.prompt,
        "seed": task.seed,
        "priority": task.priority,
        "attempt": max(task.attempts, 1) if task.started_at else 0,
        "progress": 1.0 if task.state is State.COMPLETED else round(task.progress, 4),
        "segments_done": task.segments_done,
        "segments_total": task.segments_total,
        "queue_position": task.queue_position,
        "cancel_requested": True if task.cancel_requested and task.state not in OVER else None,
        "created_at": timestamp(task.created_at),
        "started_at": timestamp(task.started_at),
        "finished_at": timestamp(task.finished_at),
        "audio_seconds": round(task.audio_seconds, 3),
    }


def _process_time(task: Task) -> float | None:
    return round(task.process_time, 2) if task.state in OVER else None


def timestamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC with milliseconds, of seconds since the epoch."""
    if seconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
