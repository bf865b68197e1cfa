"""What a person filled in wrongly becomes one sentence that names the key and what to do."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError, field_validator

from daemon.schema import Strict, first_complaint, without_nulls


class Inner(Strict):
    """A table inside."""

    speed: float = Field(1.0, gt=0, lt=2)
    names: list[str] = Field(["x"], min_length=1)


class Empty(Strict):
    """A table without keys."""


class Outer(Strict):
    """A table with a fault of every kind to find."""

    text: str
    count: int = Field(1, ge=0, le=9)
    loud: bool = False
    mode: Literal["one", "two"] = "one"
    table: dict[str, str] = {}
    prompt_path: str | None = None
    prompt_name: str | None = Field(None, json_schema_extra={"stands_for": "prompt_path"})
    inner: Inner = Inner()
    empty: Empty = Empty()

    @field_validator("text")
    @classmethod
    def _short(cls, text: str) -> str:
        if len(text) > 5:
            raise ValueError("the text is longer than {5}")
        return text


def complaint(data: Any) -> tuple[tuple[str | int, ...], str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(data)
    found = first_complaint(caught.value, Outer)
    return found.path, found.sentence


@pytest.mark.parametrize(
    ("extra", "path", "sentence"),
    [
        ({"text": 1}, ("text",), "'text' must be a string"),
        ({"text": "too long"}, ("text",), "the text is longer than {5}"),
        ({"count": 1.0}, ("count",), "'count' must be a whole number"),
        ({"count": "1"}, ("count",), "'count' must be a whole number"),
        ({"count": True}, ("count",), "'count' must be a whole number"),
        ({"count": -1}, ("count",), "'count' must be at least 0"),
        ({"count": 10**90}, ("count",), "'count' must be at most 9"),
        ({"loud": 1}, ("loud",), "'loud' must be true or false"),
        ({"loud": "yes"}, ("loud",), "'loud' must be true or false"),
        ({"mode": "three"}, ("mode",), "'mode' must be 'one' or 'two', not 'three'"),
        ({"mode": []}, ("mode",), "'mode' must be 'one' or 'two', not []"),
        ({"table": []}, ("table",), "'table' must be an object"),
        ({"table": {"a": 1}}, ("table", "a"), "'table.a' must be a string"),
        ({"inner": 1}, ("inner",), "'inner' must be an object"),
        ({"inner": {"speed": "1"}}, ("inner", "speed"), "'inner.speed' must be a number"),
        ({"inner": {"speed": 0}}, ("inner", "speed"), "'inner.speed' must be more than 0.0"),
        ({"inner": {"speed": 2}}, ("inner", "speed"), "'inner.speed' must be less than 2.0"),
        ({"inner": {"names": []}}, ("inner", "names"), "'inner.names' must not be empty"),
        ({"inner": {"names": "x"}}, ("inner", "names"), "'inner.names' must be a list"),
        ({"inner": {"names": [1]}}, ("inner", "names", 0), "'inner.names.0' must be a string"),
        ({"coutn": 1}, ("coutn",), "unknown key 'coutn'; did you mean 'count'?"),
        ({"prompt_nam": "x"}, ("prompt_nam",), "unknown key 'prompt_nam'; did you mean 'prompt_path'?"),
        ({"": 1}, ("",), "unknown key ''; did you mean 'text'?"),
        ({"inner": {"sped": 1}}, ("inner", "sped"), "unknown key 'inner.sped'; did you mean 'inner.speed'?"),
        ({"empty": {"x": 1}}, ("empty", "x"), "unknown key 'empty.x'; no key is known here"),
        ({"{count}": 1}, ("{count}",), "unknown key '{count}'; did you mean 'count'?"),
    ],
)
def test_each_fault_has_its_sentence(extra, path, sentence):
    assert complaint({"text": "hello"} | extra) == (path, sentence)


def test_a_missing_key_is_named():
    assert complaint({}) == (("text",), "the key 'text' is missing")


def test_an_unknown_key_is_named_before_the_one_that_is_missing():
    assert complaint({"txt": "hello"})[1] == "unknown key 'txt'; did you mean 'text'?"


def test_a_long_key_or_value_is_shown_shortened():
    assert len(complaint({"text": "x", "k" * 3_000_000: 1})[1]) < 120
    assert len(complaint({"text": "x", "mode": "m" * 3_000_000})[1]) < 120


def test_null_means_absent_for_known_keys_only():
    data = {"text": None, "count": None, "loud": False, "unknown": None}
    assert without_nulls(data, Outer) == {"loud": False, "unknown": None}
