"""What no document can say, for the schemathesis of the test beside this: which folders, voices and keys are free now.

Only requests that are meant to be good are mended so; those that are meant to be bad go out as they were made.
"""

from __future__ import annotations

import itertools
from typing import Any

import schemathesis

_numbers = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    number = next(_numbers)
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] += f" {number}"
        case.headers["Idempotency-Key"] = case.headers["Idempotency-Key"][-255:].strip()
    if isinstance(case.body, dict):
        _mend(case.body, number)


def _mend(body: dict[str, Any], number: int) -> None:
    for key in ("output_path", "output_directory"):
        if key in body:
            body[key] = f"made/{number}"
    for key in ("prompt_path", "prompt_name"):
        if isinstance(body.get(key), str):
            body[key] = "alice.wav"
    for (
        key,
        value,
    ) in body.items():  # JSON Schema takes 7.0 for a whole number, and the document's words say that we do not
        if isinstance(value, float) and value.is_integer():
            body[key] = int(value)
    if "speeches" in body:  # a schema counts characters, a disk bytes
        body["speeches"] = {_short(name): text for name, text in body["speeches"].items()}


def _short(name: str) -> str:
    return name if len(name.encode()) <= 255 else f"{name[:50]}.wav"
