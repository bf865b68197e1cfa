"""The shapes of what the API answers and takes, as JSON Schema for the document; what no type can say is said here.

`tasks.view` and the routes make these answers; a test holds them against each other.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from daemon.config import LimitsConfig
from daemon.host import HostState
from daemon.intake import LONGEST_KEY
from daemon.tasks import LISTED_ERRORS, MAX_SEED

Schema = dict[str, Any]

_exact = with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True))
_Id = Annotated[str, Field(pattern=r"^(task|batch)_[0-9]{1,15}_[0-9]{1,15}$", examples=["task_1790000000_42"])]
_Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-09-21T14:13:20.000Z"])]
_Count = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0)]


@_exact
class Error(TypedDict):
    """Whatever was refused or went wrong."""

    detail: str
    """One sentence a person can act on."""


@_exact
class Health(TypedDict):
    """The process serves."""

    status: Literal["ok"]


@_exact
class Ready(TypedDict):
    """The daemon can speak."""

    status: Literal["ready"]


@_exact
class Prompts(TypedDict):
    """The voices."""

    prompts: list[str]
    """Names that a request may give as `prompt_path`, sorted."""


@_exact
class TaskReceipt(TypedDict):
    """A task was accepted."""

    task_id: _Id
    status: Literal["pending"]


@_exact
class BatchReceipt(TaskReceipt):
    """A batch was accepted."""

    total_files: Annotated[int, Field(ge=1)]


@_exact
class _View(TypedDict):  # described in words, for a subclass does not inherit the docstrings below its keys
    task_id: _Id
    status: Annotated[
        Literal["pending", "processing", "completed", "failed"],
        Field(description="A cancelled task is `failed` with the error `cancelled`."),
    ]
    infer_mode: Literal["普通推理", "批次推理"]
    prompt: Annotated[str, Field(description="The voice, chosen at the latest when the task was accepted.")]
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    priority: Annotated[int, Field(ge=0, le=9)]
    attempt: Annotated[_Count, Field(description="Which attempt this is, from 1; 0 before the first.")]
    progress: Annotated[float, Field(ge=0, le=1)]
    segments_done: _Count
    segments_total: NotRequired[Annotated[_Count, Field(description="Once the text was cut.")]]
    queue_position: NotRequired[Annotated[_Count, Field(description="While pending; 0 is next.")]]
    cancel_requested: NotRequired[
        Annotated[Literal[True], Field(description="The segment in the engine is awaited, then it is over.")]
    ]
    created_at: _Moment
    started_at: NotRequired[_Moment]
    finished_at: NotRequired[_Moment]
    audio_seconds: _Seconds
    process_time: NotRequired[Annotated[_Seconds, Field(description="Engine time in seconds, once it is over.")]]
    error: NotRequired[Annotated[str, Field(description="Why it failed.")]]


@_exact
class TaskView(_View):
    """A task. A key without a value is left out."""

    output_path: str
    """The directory, absolute."""
    output_file: NotRequired[str]
    """The file, absolute, once it is completed."""


@_exact
class FileError(TypedDict):
    """A file of a batch that could not be made."""

    filename: str
    error: str


@_exact
class BatchView(_View):
    """A batch. A key without a value is left out."""

    output_directory: str
    """Absolute."""
    total_files: Annotated[int, Field(ge=1)]
    processed_files: _Count
    """Those that were made."""
    errors: NotRequired[
        Annotated[
            list[FileError],
            Field(min_length=1, description=f"In the batch's order; in a list the first {LISTED_ERRORS}."),
        ]
    ]


@_exact
class TaskPage(TypedDict):
    """Tasks and batches, newest first. Of a batch's many `errors` only the first; the batch itself shows all."""

    tasks: list[TaskView | BatchView]
    next: _Id | None
    """What `after` takes for the next page; null on the last."""


@_exact
class StatusCounts(TypedDict):
    """How many tasks and batches are in which state."""

    pending: _Count
    processing: _Count
    completed: _Count
    failed: _Count


@_exact
class EngineStats(TypedDict):
    """The engine."""

    name: str
    state: HostState


@_exact
class InboxStats(TypedDict):
    """The drop folder."""

    waiting: _Count
    """Files that were not looked at yet."""


@_exact
class Stats(TypedDict):
    """How the daemon is."""

    tasks: StatusCounts
    oldest_pending_seconds: _Seconds | None
    engine: EngineStats
    inbox: InboxStats
    version: str
    trouble: NotRequired[str]
    """What keeps it from speaking, if anything does."""


_ANSWERS = (Error, Health, Ready, Prompts, TaskReceipt, BatchReceipt, TaskView, BatchView, TaskPage, Stats)

#: What `str.strip` leaves something of: JSON Schema's idea of a blank differs by six signs.
_SPEAKABLE = r"[^\s\x1c-\x1f\x85]|\ufeff"
#: Of a request's keys, what the tables in `tasks` check without a word of JSON Schema, and what they mean.
_KEYS: dict[str, Schema] = {
    "text": {"description": "What to speak; not blank.", "pattern": _SPEAKABLE, "examples": ["你好，世界。"]},
    "output_path": {
        "description": "The directory for the file, made if missing: absolute, or below the first of output.roots; "
        "it must lie in one of them.",
        "minLength": 1,
        "examples": ["news"],
    },
    "output_directory": {
        "description": "The directory for the files, as `output_path` of a task.",
        "minLength": 1,
        "examples": ["book"],
    },
    "speeches": {
        "description": "File name -> text. A name ends in .wav, is no path, and has at most 255 bytes.",
        "propertyNames": {
            "maxLength": 255,
            "pattern": r"^[^./~\\\x00-\x1f\x7f-\x9f][^/\\\x00-\x1f\x7f-\x9f]*\.[wW][aA][vV]$",
        },
        "additionalProperties": {"type": "string", "pattern": _SPEAKABLE},
        "examples": [{"one.wav": "First.", "two.wav": "Second."}],
    },
    "overwrite": {"description": "Whether files of these names may be replaced."},
    "infer_mode": {"description": "普通推理: by itself. 批次推理: in calls of the engine shared with others."},
    "prompt_path": {"description": "The voice: a name from /api/tts/prompts. Left out: prompts.default decides."},
    "prompt_name": {"description": "Another name of `prompt_path`; not both."},
    "priority": {"description": "9 is spoken first, 0 last."},
    "seed": {"description": "The same seed gives the same sound. Left out: drawn, and shown.", "examples": [7]},
    "format": {"description": "The kind of file."},
    "options": {"description": "What the configured engine understands besides."},
}
_ONE_PROMPT = {
    "required": ["prompt_path", "prompt_name"],
    "properties": {"prompt_path": {"type": "string"}, "prompt_name": {"type": "string"}},
}

IDEMPOTENCY_KEY: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_KEY,
    "pattern": r"^[!-~]([ -~]*[!-~])?$",
}
TASK_ID = TypeAdapter(_Id).json_schema()


def answers(ref_template: str) -> dict[str, Schema]:
    """The schemas of all answers by name, referring to each other by `ref_template`."""
    adapters = [(kind.__name__, "serialization", TypeAdapter(kind)) for kind in _ANSWERS]
    _, found = TypeAdapter.json_schemas(adapters, ref_template=ref_template)  # type: ignore[arg-type]
    return {name: without_titles(schema) for name, schema in found["$defs"].items()}


def bodies(found: dict[str, Schema], limits: LimitsConfig) -> dict[str, Schema]:
    """The schemas of the requests by name, from those of `Intake.bodies`, with meanings and limits."""
    return {name: _body(without_titles(schema), limits) for name, schema in found.items()}


def _body(schema: Schema, limits: LimitsConfig) -> Schema:
    keys = {key: _nullable(key, about, schema) | _KEYS[key] for key, about in schema["properties"].items()}
    if "text" in keys:
        keys["text"]["maxLength"] = limits.text_chars
    if "speeches" in keys:
        longest = keys["speeches"]["additionalProperties"] | {"maxLength": limits.text_chars}
        keys["speeches"] |= {"additionalProperties": longest, "maxProperties": limits.batch_files}
    return schema | {"properties": keys, "not": _ONE_PROMPT}


def _nullable(key: str, about: Schema, schema: Schema) -> Schema:
    """Null means absent: a key that may be left out may be null."""
    if key in schema.get("required", ()):
        return about
    value = next((branch for branch in about.get("anyOf", ()) if branch != {"type": "null"}), about)
    rest = {word: meaning for word, meaning in about.items() if word not in ("anyOf", "stands_for")}
    nullable = rest | value | {"type": [value["type"], "null"]}
    if "enum" in value:
        nullable["enum"] = [*value["enum"], None]
    if "properties" in value:
        nullable["properties"] = {name: _nullable(name, one, value) for name, one in value["properties"].items()}
    if nullable.get("default", ...) is None:
        del nullable["default"]
    return nullable


def without_titles(schema: Schema) -> Schema:
    """Without the titles that pydantic makes of names, which say nothing new; a key called `title` stays."""
    return {
        word: _inside(word, meaning)
        for word, meaning in schema.items()
        if not (word == "title" and isinstance(meaning, str))
    }


def _inside(word: str, meaning: Any) -> Any:
    if word in ("examples", "default", "enum"):
        return meaning
    if isinstance(meaning, list):
        return [without_titles(one) if isinstance(one, dict) else one for one in meaning]
    return without_titles(meaning) if isinstance(meaning, dict) else meaning
