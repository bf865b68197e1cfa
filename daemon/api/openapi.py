"""The API's own description: OpenAPI 3.1 of every route, each status it may answer, and the shape of each answer."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import daemon
from daemon.api import shapes
from daemon.api.shapes import Schema
from daemon.config import LimitsConfig
from daemon.tasks import STATUS_WORDS

PAGE, LARGEST_PAGE = 100, 1000
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "mp3": "audio/mpeg"}

_REF = "#/components/schemas/{model}"
#: What each refusal means; the sentence in `detail` says the rest.
_REFUSALS: Mapping[int, tuple[str, str]] = {
    400: ("BadRequest", "The request is wrong."),
    401: ("Unauthorized", "A token is needed, and none that is known came with the request."),
    403: ("Forbidden", "A page of another site asked, or the Host is no name of this server."),
    404: ("NotFound", "There is no such task, or its file is no longer there."),
    409: ("Conflict", "Not possible in the state the task is in."),
    413: ("TooLarge", "The body is larger than server.max_body_bytes."),
    416: ("RangeNotSatisfiable", "The Range lies outside the file."),
    429: ("QueueFull", "As many tasks wait as limits.queue allows."),
    431: ("HeadersTooLarge", "The address and the headers are longer than 16 KiB."),
    500: ("InternalError", "A fault of the daemon; the id in `detail` stands in its log."),
    501: ("NotImplemented", "A Transfer-Encoding other than chunked."),
    503: ("Unavailable", "The machine does not allow it for now, or the daemon cannot speak; `detail` says why."),
}
#: What any request may meet, before a route sees it or when one breaks.
_ALWAYS = (400, 401, 403, 413, 431, 500, 501, 503)
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}}
}
_HEADERS: Mapping[int, Schema] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    416: {"Content-Range": {"required": True, "schema": {"type": "string", "pattern": r"^bytes \*/[0-9]+$"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}

_ABOUT = """Texts in, speech in files out.

Success is 200 (206 for a Range); whatever else happens is `{"detail": "<one sentence a person can act on>"}`.
A trailing slash is accepted. In a body, null means absent, a key that stands twice is refused, and the Content-Type is
looked at only where a browser sends it (then it must be JSON). A whole number has no fraction: 7, not 7.0. A
method that a path does not have is 405 with `Allow`; HEAD is answered as GET is, without the body. OPTIONS is for the
pages that server.cors_origins lists, else it is 405.
Every answer has `X-Content-Type-Options: nosniff`."""


def _text(**words: Any) -> Schema:
    return {"type": "string", **words}


def _parameter(name: str, place: str, about: str, schema: Schema) -> Schema:
    path = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "description": about, "schema": schema, **path}


_TASK_ID = _parameter("task_id", "path", "Of a task or a batch.", shapes.TASK_ID)
_IDEMPOTENCY = _parameter(
    "Idempotency-Key",
    "header",
    "The same key with the same body answers the first task again; with another body it is refused.",
    shapes.IDEMPOTENCY_KEY,
)
_PAGING = (
    _parameter("status", "query", "Only those.", _text(enum=list(STATUS_WORDS))),
    _parameter(
        "limit",
        "query",
        "At most so many.",
        {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE},
    ),
    _parameter("after", "query", "Those older than this one: `next` of the page before.", shapes.TASK_ID),
)
_PARTS = (
    _parameter("Range", "header", "`bytes=0-99`; one range. Whatever else it may be is ignored.", _text()),
    _parameter("If-Range", "header", "ETag or date of the earlier part; else the whole file comes.", _text()),
    _parameter("If-None-Match", "header", "ETag of what the client has.", _text()),
    _parameter("If-Modified-Since", "header", "Date of what the client has.", _text()),
)


@dataclass(frozen=True, slots=True)
class _Operation:
    """One method of one path.

    Attributes:
        answers: names of the schemas a 200 may have. refusals: the statuses besides those any request may meet.
        body: name of the request's schema. guarded: whether it needs a token once there is one.
    """

    name: str
    method: str
    path: str
    about: str
    answers: tuple[str, ...]
    refusals: tuple[int, ...] = ()
    parameters: tuple[Schema, ...] = ()
    body: str | None = None
    guarded: bool = True


_TASKS = "/api/tts/tasks"
_TASK = f"{_TASKS}/{{task_id}}"
_VIEWS = ("TaskView", "BatchView")
_OPERATIONS = (
    _Operation("health", "get", "/health", "The process serves", ("Health",), guarded=False),
    _Operation("apiHealth", "get", "/api/tts/health", "The process serves", ("Health",), guarded=False),
    _Operation("ready", "get", "/ready", "The daemon can speak", ("Ready",), (503,)),
    _Operation("openapi", "get", "/openapi.json", "This document", ()),
    _Operation("prompts", "get", "/api/tts/prompts", "The voices", ("Prompts",), (503,)),
    _Operation("tasks", "get", _TASKS, "Tasks and batches, newest first", ("TaskPage",), (503,), _PAGING),
    _Operation("createTask", "post", _TASKS, "Speak a text", ("TaskReceipt",), (429, 503), (_IDEMPOTENCY,), "TaskBody"),
    _Operation(
        "createBatch",
        "post",
        "/api/tts/batch_tasks",
        "Speak many texts with one voice, each to a file of its own",
        ("BatchReceipt",),
        (429, 503),
        (_IDEMPOTENCY,),
        "BatchBody",
    ),
    _Operation("showTask", "get", _TASK, "A task or a batch", _VIEWS, (404, 503), (_TASK_ID,)),
    _Operation("cancelTask", "delete", _TASK, "Cancel what is not over", _VIEWS, (404, 409, 503), (_TASK_ID,)),
    _Operation(
        "retryTask",
        "post",
        f"{_TASK}/retry",
        "Put back what failed or was cancelled",
        _VIEWS,
        (404, 409, 503),
        (_TASK_ID,),
    ),
    _Operation(
        "audio",
        "get",
        f"{_TASK}/audio",
        "The finished file, whole or in part",
        (),
        (404, 409, 416, 503),
        (_TASK_ID, *_PARTS),
    ),
    _Operation("stats", "get", "/api/tts/stats", "Counts, and how the engine is", ("Stats",), (503,)),
)
#: What can be asked of a new task, by the id in its answer.
_LINKED = ("showTask", "cancelTask", "retryTask", "audio")


class Document:
    """`GET /openapi.json`: made once for the same limits, which a reload may change.

    Args:
        bodies: the schemas of the requests, from `Intake.bodies`.
    """

    def __init__(self, bodies: dict[str, Schema]) -> None:
        self._bodies = bodies
        self.for_limits = functools.lru_cache(maxsize=2)(self._make)

    def _make(self, limits: LimitsConfig, guarded: bool) -> Schema:
        return {
            "openapi": "3.1.0",
            "info": {"title": "indexttsd", "version": daemon.__version__, "description": _ABOUT},
            "servers": [{"url": "/"}],
            "paths": _paths(guarded),
            "components": {
                "schemas": shapes.answers(_REF) | shapes.bodies(self._bodies, limits),
                "responses": {name: _refusal(status) for status, (name, _) in _REFUSALS.items()},
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }


def _paths(guarded: bool) -> Schema:
    paths: Schema = {}
    for operation in _OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, guarded and operation.guarded)
    return paths


def _described(operation: _Operation, guarded: bool) -> Schema:
    statuses = sorted({*_ALWAYS, *operation.refusals} - (set() if operation.guarded else {401}))
    refusals = {str(status): {"$ref": f"#/components/responses/{_REFUSALS[status][0]}"} for status in statuses}
    successes = _sound() if operation.name == "audio" else {"200": _success(operation)}
    described: Schema = {
        "operationId": operation.name,
        "summary": operation.about,
        "security": [{"token": []}] if guarded else [],
        "responses": successes | refusals,
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body:
        body = {"schema": {"$ref": _REF.format(model=operation.body)}}
        described["requestBody"] = {"required": True, "content": {"application/json": body}}
    return described


def _success(operation: _Operation) -> Schema:
    refs = [{"$ref": _REF.format(model=name)} for name in operation.answers]
    schema = {"anyOf": refs} if len(refs) > 1 else refs[0] if refs else {"type": "object"}
    answer: Schema = {"description": operation.about, "content": {"application/json": {"schema": schema}}}
    if operation.body:
        known = {"parameters": {"task_id": "$response.body#/task_id"}}
        answer["links"] = {name: {"operationId": name, **known} for name in _LINKED}
    return answer


def _sound() -> Schema:
    """What the audio of a task is answered with when all is well."""
    content: Schema = {media_type: {} for media_type in MEDIA_TYPES.values()}
    tag = {"ETag": {"required": True, "schema": _text()}}
    whole = tag | {
        "Last-Modified": {"required": True, "schema": _text()},
        "Accept-Ranges": {"required": True, "schema": {"const": "bytes"}},
    }
    part = {"Content-Range": {"required": True, "schema": _text(pattern="^bytes [0-9]+-[0-9]+/[0-9]+$")}}
    return {
        "200": {"description": "The whole file", "headers": whole, "content": content},
        "206": {"description": "The part that Range names", "headers": whole | part, "content": content},
        "304": {"description": "The client has it already", "headers": tag},
    }


def _refusal(status: int) -> Schema:
    schema = {"$ref": _REF.format(model="Error")}
    refusal: Schema = {"description": _REFUSALS[status][1], "content": {"application/json": {"schema": schema}}}
    return refusal | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
