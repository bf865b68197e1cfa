"""The routes: each one call into another room, its answer as JSON, its errors by one table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import bottle

import daemon
from daemon import strict_json
from daemon.api import sound
from daemon.api.answers import RETRY_AFTER, STATUS, error_body, incident, status_of
from daemon.api.openapi import LARGEST_PAGE, MEDIA_TYPES, PAGE, Document
from daemon.bell import Bell
from daemon.errors import BadRequest, Conflict, IndexttsdError, TooLarge
from daemon.intake import Intake
from daemon.outputs import Outputs
from daemon.prompts import Prompts
from daemon.store import Store
from daemon.tasks import STATUS_WORDS, State, parse_id, view


class Api:
    """The routes over their rooms.

    Args:
        health: the engine's name and state, why the daemon is not ready (None if it is), files waiting in the inbox.
        max_body_bytes: largest body that is looked at.
        guarded: whether a token is needed now; the document says so.
    """

    def __init__(
        self,
        store: Store,
        intake: Intake,
        prompts: Prompts,
        outputs: Outputs,
        bell: Bell,
        health: Callable[[], tuple[dict[str, str], str | None, int]],
        max_body_bytes: int,
        guarded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._intake = intake
        self._prompts = prompts
        self._outputs = outputs
        self._bell = bell
        self._health = health
        self._max_body_bytes = max_body_bytes
        self._guarded = guarded
        self._document = Document(intake.bodies())

    def wsgi(self) -> bottle.Bottle:
        """The application."""
        app = bottle.Bottle()
        app.config["json.enable"] = False
        app.default_error_handler = _framework_error
        app.install(_json)
        task = "/api/tts/tasks/<task_id>"
        app.get(["/health", "/api/tts/health"], callback=self.healthy)
        app.get("/ready", callback=self.ready)
        app.get("/openapi.json", callback=self.document)
        app.get("/api/tts/prompts", callback=self.list_prompts)
        app.post("/api/tts/tasks", callback=functools.partial(self.create, batch=False))
        app.post("/api/tts/batch_tasks", callback=functools.partial(self.create, batch=True))
        app.get("/api/tts/tasks", callback=self.list_tasks)
        app.get(task, callback=self.show)
        app.delete(task, callback=self.cancel)
        app.post(f"{task}/retry", callback=self.retry)
        app.get(f"{task}/audio", callback=self.audio)
        app.get("/api/tts/stats", callback=self.stats)
        return app

    def healthy(self) -> object:
        """The process serves."""
        return {"status": "ok"}

    def ready(self) -> object:
        """The daemon can speak."""
        _, reason, _ = self._health()
        if reason is None:
            return {"status": "ready"}
        return _json_response(503, reason)

    def document(self) -> object:
        """What this API answers to what, for tools."""
        return self._document.for_limits(self._intake.limits, self._guarded())

    def list_prompts(self) -> object:
        """The names a request may give as `prompt_path`."""
        return {"prompts": self._prompts.names()}

    def create(self, *, batch: bool) -> object:
        """Accept a task or a batch; answered when it is durable."""
        receipt = self._intake.submit(self._body(), batch=batch, key=_header("Idempotency-Key"))
        self._bell.ring()
        return receipt.answer()

    def list_tasks(self) -> object:
        """A page of tasks, newest first."""
        query = _query()
        limit = _limit(query.get("limit"))
        found = self._store.tasks(_states(query.get("status")), limit + 1, _after(query.get("after")))
        page = found[:limit]
        more = page[-1].task_id if len(found) > limit else None
        return {"tasks": [view(task) for task in page], "next": more}

    def show(self, task_id: str) -> object:
        """One task."""
        return view(self._store.task(task_id))

    def cancel(self, task_id: str) -> object:
        """End a task that is not over."""
        task = self._store.cancel(task_id)
        self._bell.ring()
        return view(task)

    def retry(self, task_id: str) -> object:
        """Put back what failed."""
        task = self._store.retry(task_id)
        self._bell.ring()
        return view(task)

    def audio(self, task_id: str) -> object:
        """The finished file, whole or in part (Range)."""
        task = self._store.task(task_id)
        if task.batch:
            raise Conflict(f"Task '{task_id}' is a batch of many files; find them in its output_directory")
        if task.state is not State.COMPLETED:
            raise Conflict(f"Task '{task_id}' has no audio; it is {view(task)['status']}")
        file = self._outputs.finished(task.directory, task.file_name)
        return sound.send(file, MEDIA_TYPES[task.format])

    def stats(self) -> object:
        """Counts, how the engine is, and what keeps the daemon from speaking, if anything does."""
        counts, oldest = self._store.stats()
        engine, trouble, waiting = self._health()
        return {
            "tasks": counts,
            "oldest_pending_seconds": oldest,
            "engine": engine,
            "inbox": {"waiting": waiting},
            "version": daemon.__version__,
        } | ({"trouble": trouble} if trouble else {})

    def _body(self) -> bytes:
        length = bottle.request.content_length
        if length > self._max_body_bytes:
            raise TooLarge(f"a body of {length} bytes is too large; server.max_body_bytes is {self._max_body_bytes}")
        data: bytes = bottle.request.environ["wsgi.input"].read(max(length, 0))
        return data


def _json(callback: Callable[..., object]) -> Callable[..., object]:
    """Bottle plugin: what a route returns or raises, as JSON."""

    @functools.wraps(callback)
    def answer(**arguments: str) -> object:
        try:
            result = callback(**arguments)
        except tuple(STATUS) as error:
            return _refusal(error)
        except bottle.HTTPResponse:
            raise
        except Exception:  # noqa: BLE001 - logged whole, by a name the client gets
            return _json_response(500, incident("a route broke", traceback=True))
        if isinstance(result, bottle.HTTPResponse):
            return result
        bottle.response.content_type = "application/json"
        return strict_json.dumps(result)

    return answer


def _refusal(error: IndexttsdError) -> bottle.HTTPResponse:
    return _json_response(status_of(error), str(error))


def _json_response(status: int, detail: str) -> bottle.HTTPResponse:
    later = {"Retry-After": str(RETRY_AFTER)} if status in (429, 503) else {}
    return bottle.HTTPResponse(error_body(detail), status, {"Content-Type": "application/json"} | later)


def _framework_error(error: bottle.HTTPError) -> str:
    """What Bottle itself refuses: no such route, no such method, a bad Range, a path that is not UTF-8."""
    bottle.response.content_type = "application/json"
    method, path = bottle.request.method, bottle.request.path
    details = {
        404: f"there is nothing at {path}",
        405: f"{method} is not possible on {path}",
        416: "the Range lies outside the file",
    }
    if error.status_code == 500:
        return error_body(incident(error.exception))
    return error_body(details.get(error.status_code, str(error.body)))


def _header(name: str) -> str | None:
    try:
        value: str | None = bottle.request.get_header(name)
    except UnicodeDecodeError:
        raise BadRequest(f"the header {name} is not UTF-8") from None
    return value


def _query() -> Mapping[str, str]:
    try:
        query: Mapping[str, str] = bottle.request.query.decode()
    except UnicodeDecodeError:
        raise BadRequest("the address is not UTF-8") from None
    return query


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LARGEST_PAGE):
        raise BadRequest(f"'limit' must be a whole number from 1 to {LARGEST_PAGE}")
    return int(text)


def _states(word: str | None) -> tuple[State, ...] | None:
    if word is None:
        return None
    if word not in STATUS_WORDS:
        raise BadRequest(f"'status' must be one of {', '.join(STATUS_WORDS)}")
    return STATUS_WORDS[word]


def _after(task_id: str | None) -> str | None:
    if task_id is not None and parse_id(task_id) is None:
        raise BadRequest(f"'after' must be a task's id, not {task_id!r}")
    return task_id
