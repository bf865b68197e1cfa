"""Strict data from outside: the pydantic base of every table a person fills in, and its errors as sentences."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails


class Strict(BaseModel):
    """No coercion, no unknown keys, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong and where.

    Attributes:
        path: keys and positions from the top to the culprit.
        sentence: for a person, naming the key.
    """

    path: tuple[str | int, ...]
    sentence: str


#: pydantic's error type -> what the value must be.
_MUST_BE = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "dict_type": "an object",
    "model_type": "an object",
    "list_type": "a list",
    "path_type": "a path",
}


def first_complaint(error: ValidationError, model: type[BaseModel]) -> Complaint:
    """The first error of a failed validation of `model`, as a sentence."""
    details = error.errors(include_url=False)[0]
    path = tuple(part for part in details["loc"] if part != "[key]")
    return Complaint(path, _sentence(details, path, model))


def without_nulls(data: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """`data` without the keys of `model` that are null: null means absent. Unknown keys stay, to be refused."""
    return {key: value for key, value in data.items() if value is not None or key not in model.model_fields}


def _sentence(details: ErrorDetails, path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    kind, key = details["type"], ".".join(map(str, path))
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key '{key}'; did you mean '{_nearest(path, model)}'?"
    if kind == "missing":
        return f"the key '{key}' is missing"
    if kind in _MUST_BE:
        return f"'{key}' must be {_MUST_BE[kind]}"
    if kind == "literal_error":
        return f"'{key}' must be {context['expected']}, not {_shown(details['input'])}"
    if kind == "value_error":
        return str(context["error"])
    return f"'{key}' is not valid: {details['msg'][:1].lower()}{details['msg'][1:]}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """The valid key most like the wrong one; an alias counts as the key it stands for."""
    for part in path[:-1]:
        model = _model_of(model.model_fields[str(part)].annotation)
    fields = model.model_fields
    if not fields:
        return "no key at all: none is taken here"
    name = difflib.get_close_matches(str(path[-1]), fields, n=1, cutoff=0.0)[0]
    extra = fields[name].json_schema_extra
    stands_for = extra.get("stands_for") if isinstance(extra, dict) else None
    return ".".join([*map(str, path[:-1]), str(stands_for or name)])


def _model_of(annotation: Any) -> type[BaseModel]:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    raise TypeError(f"no table of keys in {annotation}")
