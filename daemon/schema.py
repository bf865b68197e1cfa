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


#: pydantic's error type -> the sentence, with pydantic's own words for the bound or the values it expected.
_SENTENCES = {
    "missing": "the key '{key}' is missing",
    "string_type": "'{key}' must be a string",
    "int_type": "'{key}' must be a whole number",
    "int_from_float": "'{key}' must be a whole number",
    "float_type": "'{key}' must be a number",
    "finite_number": "'{key}' must be a finite number",
    "bool_type": "'{key}' must be true or false",
    "dict_type": "'{key}' must be an object",
    "model_type": "'{key}' must be an object",
    "list_type": "'{key}' must be a list",
    "path_type": "'{key}' must be a path",
    "greater_than": "'{key}' must be more than {gt}",
    "greater_than_equal": "'{key}' must be at least {ge}",
    "less_than_equal": "'{key}' must be at most {le}",
    "less_than": "'{key}' must be less than {lt}",
    "too_short": "'{key}' must not be empty",
    "string_too_short": "'{key}' must not be empty",
    "literal_error": "'{key}' must be {expected}, not {shown}",
    "value_error": "{error}",
}
_LONGEST_SHOWN = 60


def first_complaint(error: ValidationError, model: type[BaseModel]) -> Complaint:
    """The first error of a failed validation of `model`, as a sentence."""
    # An unknown key comes first: "the key 'text' is missing" would not tell who wrote 'txt' what to do.
    details = min(error.errors(include_url=False), key=lambda details: details["type"] != "extra_forbidden")
    path = tuple(part for part in details["loc"] if part != "[key]")
    return Complaint(path, _sentence(details, path, model))


def without_nulls(data: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """`data` without the keys of `model` that are null: null means absent. Unknown keys stay, to be refused."""
    return {key: value for key, value in data.items() if value is not None or key not in model.model_fields}


def _sentence(details: ErrorDetails, path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    kind, key = details["type"], ".".join(map(str, path))
    if kind == "extra_forbidden":
        return _unknown(path, model)
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(key=key, shown=_cut(repr(details["input"])), **details.get("ctx", {}))
    return f"'{key}' is not valid: {details['msg'][:1].lower()}{details['msg'][1:]}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def _unknown(path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """Names the valid key most like the wrong one; an alias counts as the key it stands for."""
    above, wrong = path[:-1], _cut(str(path[-1]))
    for part in above:
        model = _model_of(model.model_fields[str(part)].annotation)
    key = ".".join([*map(str, above), wrong])
    fields = model.model_fields
    if not fields:
        return f"unknown key '{key}'; no key is known here"
    name = difflib.get_close_matches(wrong, fields, n=1, cutoff=0.0)[0]
    extra = fields[name].json_schema_extra
    stands_for = extra.get("stands_for") if isinstance(extra, dict) else None
    return f"unknown key '{key}'; did you mean '{'.'.join([*map(str, above), str(stands_for or name)])}'?"


def _model_of(annotation: Any) -> type[BaseModel]:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    raise TypeError(f"no table of keys in {annotation}")
