"""The one counter: bytes from either door -> validated -> stored. Nobody else validates a request."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from daemon import strict_json
from daemon.config import LimitsConfig
from daemon.engines import SPECS
from daemon.engines.base import EngineSpec
from daemon.errors import BadRequest
from daemon.outputs import Outputs
from daemon.prompts import Prompts
from daemon.schema import first_complaint, without_nulls
from daemon.space import Space
from daemon.store import Store
from daemon.tasks import MAX_SEED, BatchRequest, NewTask, Receipt, TaskRequest

#: Of an idempotency key, in characters.
LONGEST_KEY = 255
_MOST_KEYS = 100
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class _Order:
    """A request that has the right shape, before anything was looked up.

    Attributes:
        index: its position in a dropped array, or None.
        body_hash: SHA-256 of what was asked, without the idempotency key.
        folder_given: whether the request itself named its output folder.
    """

    request: TaskRequest | BatchRequest
    index: int | None
    key: str | None
    body_hash: str
    folder_given: bool


class Intake:
    """Accepts requests.

    Args:
        spec: the configured engine's; its options are what `options` may hold.
        space: nothing new is taken while it is short.

    Attributes:
        limits: how much is taken; may be replaced at any time.
    """

    def __init__(
        self,
        store: Store | None,
        prompts: Prompts,
        outputs: Outputs,
        spec: EngineSpec,
        limits: LimitsConfig,
        space: Space | None = None,
    ) -> None:
        self._store = store
        self._prompts = prompts
        self._outputs = outputs
        self._spec = spec
        self.limits = limits
        self._space = space

    def submit(self, data: bytes, *, batch: bool, key: str | None) -> Receipt:
        """Accept the body of a POST; durable when it returns.

        Raises:
            BadRequest, QueueFull
            StorageUnavailable, LedgerUnavailable: it cannot be kept for now.
        """
        body = strict_json.parse(data)
        if not isinstance(body, dict):
            raise BadRequest("the body must be one JSON object")
        order = self._order(body, BatchRequest if batch else TaskRequest, None, key)
        return self._ledger().submit([self._accepted(order, self._require_room)], self.limits.queue)[0]

    def submit_drop(self, data: bytes, uid: str, name: str) -> list[Receipt]:
        """Accept a dropped file's content, all of it or nothing.

        Args:
            uid: the file's identity. name: its name, which names the default output folder.

        Raises:
            BadRequest: with the index of the wrong object in an array.
            StorageUnavailable, LedgerUnavailable: it cannot be kept for now.
        """
        accepted = [self._accepted(order) for order in self._orders(data, name)]
        return self._ledger().submit_drop(uid, name, accepted)

    def check(self, data: bytes, name: str) -> list[NewTask]:
        """What a dropped file would become, without storing or making anything.

        Raises:
            BadRequest
        """
        return [self._new_task(order, make=False) for order in self._orders(data, name)]

    def bodies(self) -> dict[str, dict[str, Any]]:
        """JSON Schema of what `submit` takes, by name, `options` as the engine here has them."""
        options = self._spec.request_options.model_json_schema()
        found = {"TaskBody": TaskRequest.model_json_schema(), "BatchBody": BatchRequest.model_json_schema()}
        for schema in found.values():
            schema["properties"]["options"] = options
        return found

    def has_room(self, files: int = 1) -> bool:
        """Whether the queue takes so many more dropped files, of one task each."""
        return self._ledger().room(self.limits.queue + 1 - files) and not (self._space and self._space.shortage())

    def _accepted(self, order: _Order, may_be_new: Callable[[], None] = lambda: None) -> NewTask | Receipt:
        """A known idempotency key is answered from the ledger, whatever became of prompt, folder and limits since."""
        if known := self._ledger().replayed(order.key, order.body_hash, order.index):
            return known
        may_be_new()
        return self._new_task(order)

    def _require_room(self) -> None:
        """Asked before a folder is made, too: who is refused leaves none behind."""
        self._ledger().require_room(self.limits.queue)

    def _ledger(self) -> Store:
        if self._store is None:
            raise RuntimeError("this intake only checks; it has no ledger")
        return self._store

    def _orders(self, data: bytes, name: str) -> list[_Order]:
        content = strict_json.parse(data)
        if isinstance(content, list):
            if not content:
                raise BadRequest("the array is empty; put at least one object into it")
            if len(content) > self.limits.queue:  # it is taken whole, and holds up everybody meanwhile
                raise BadRequest(f"an array of {len(content)} tasks is too large; limits.queue is {self.limits.queue}")
            return [self._dropped(item, name, index) for index, item in enumerate(content)]
        return [self._dropped(content, name, None)]

    def _dropped(self, item: object, name: str, index: int | None) -> _Order:
        if not isinstance(item, dict):
            raise BadRequest("a task must be a JSON object, or an array of them", index=index)
        # A null `speeches` is absent, and so does not make a batch.
        body = {
            key: value
            for key, value in item.items()
            if key != "idempotency_key" and not (key == "speeches" and value is None)
        }
        model: type[TaskRequest | BatchRequest] = BatchRequest if "speeches" in body else TaskRequest
        stem = os.path.splitext(name)[0]  # noqa: PTH122 - a name, not a path
        return self._order(body, model, index, item.get("idempotency_key"), {model.folder_key: stem})

    def _order(
        self,
        body: Mapping[str, Any],
        model: type[TaskRequest | BatchRequest],
        index: int | None,
        key: object,
        defaults: Mapping[str, Any] | None = None,
    ) -> _Order:
        try:
            self._check_counts(body)
            checked_key = _idempotency_key(key)
            request = _validated(model, {**(defaults or {}), **without_nulls(dict(body), model)})
        except BadRequest as error:
            raise BadRequest(str(error), index=index) from None
        given = without_nulls(dict(body), model)
        asked = strict_json.canonical({"kind": model.__name__, "body": given})
        folder_given = not (defaults or {}).keys() - given.keys()
        return _Order(request, index, checked_key, hashlib.sha256(asked).hexdigest(), folder_given)

    def _check_counts(self, body: Mapping[str, Any]) -> None:
        """Before anything looks at each key: for every wrong one an error is made, and only the first is told."""
        for what, table in {"the request": body, "'options'": body.get("options")}.items():
            if isinstance(table, dict) and len(table) > _MOST_KEYS:
                raise BadRequest(f"{what} has {len(table)} keys; at most {_MOST_KEYS} make sense")
        files, most = body.get("speeches"), self.limits.batch_files
        if isinstance(files, dict) and len(files) > most:
            raise BadRequest(f"a batch of {len(files)} files is too large; limits.batch_files allows {most}")

    def _check_texts(self, request: TaskRequest | BatchRequest) -> None:
        limit = self.limits.text_chars
        longest = max(map(len, request.texts.values()))
        if longest > limit:
            raise BadRequest(f"a text of {longest} characters is too long; limits.text_chars allows {limit}")

    def _check_options(self, request: TaskRequest | BatchRequest) -> None:
        check_options(self._spec, self._prompts, request.options, request.infer_mode)

    def _new_task(self, order: _Order, *, make: bool = True) -> NewTask:
        """Fix what the request left open: the prompt, the seed, the folder."""
        try:
            return self._placed(order, make=make)
        except BadRequest as error:
            raise BadRequest(str(error), index=order.index) from None

    def _placed(self, order: _Order, *, make: bool) -> NewTask:
        request = order.request
        self._check_texts(request)
        self._check_options(request)
        prompt = self._prompts.choose(request.prompt)
        key = request.folder_key
        named = key if order.folder_given else f"{key} (left out, so the file's name)"
        shown, directory = self._outputs.resolve(getattr(request, key), named)
        if isinstance(request, BatchRequest) and not request.overwrite:
            self._check_free(directory, request)
        if make:
            if self._space:
                self._space.require()
            self._outputs.make(directory, named)
        return NewTask(
            batch=isinstance(request, BatchRequest),
            speeches=request.texts,
            output_path=shown,
            directory=directory,
            infer_mode=request.infer_mode,
            prompt=prompt,
            priority=request.priority,
            seed=random.randint(0, MAX_SEED) if request.seed is None else request.seed,  # noqa: S311
            format=request.format,
            options=without_nulls(request.options, self._spec.request_options),
            overwrite=request.overwrite,
            idempotency_key=order.key,
            body_hash=order.body_hash if order.key is not None else None,
            index=order.index,
        )

    def _check_free(self, directory: str, request: BatchRequest) -> None:
        taken = self._outputs.existing(directory, list(request.speeches))
        if taken:
            names = ", ".join(taken[:10])
            raise BadRequest(f"'speeches': {names} exists already in {directory!r}; set \"overwrite\": true to replace")


def _validated(model: type[_Model], data: Mapping[str, Any], within: str = "") -> _Model:
    try:
        return model.model_validate(without_nulls(dict(data), model))
    except ValidationError as error:
        sentence = first_complaint(error, model).sentence
        raise BadRequest(f"'{within}': {sentence}" if within else sentence) from None


def check_options(spec: EngineSpec, prompts: Prompts, given: Mapping[str, Any], infer_mode: str) -> None:
    """Pass the `options` of a request that this engine understands in that mode.

    Raises:
        BadRequest: naming the key.
    """
    try:
        options = _validated(spec.request_options, given, "options")
    except BadRequest as refused:
        raise BadRequest(f"{refused}{_known_elsewhere(spec, given)}") from None
    if sentence := options.clash(infer_mode):
        raise BadRequest(f"'options': {sentence}")
    for key in spec.clip_options:
        if (name := getattr(options, key)) is not None:
            prompts.choose(name)


def _known_elsewhere(spec: EngineSpec, given: Mapping[str, Any]) -> str:
    """Who sends another engine's option has made no slip of the pen: the likest key would lead him astray."""
    unknown = next((key for key in given if key not in spec.request_options.model_fields), None)
    knowing = [other.name for other in SPECS.values() if unknown in other.request_options.model_fields]
    return f" It is an option of {', '.join(knowing)}, and the engine here is {spec.name}" if knowing else ""


def _idempotency_key(key: object) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise BadRequest(f"an idempotency key must be a string of 1 to {LONGEST_KEY} printable characters")
    return key
