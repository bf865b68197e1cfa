"""JSON as both doors take it: strict, in any Unicode encoding, and every fault a sentence with its place."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from daemon.errors import BadRequest

#: Deepest nesting of arrays and objects that is read.
MAX_DEPTH = 32


def parse(data: bytes) -> object:
    """What `data` says.

    Beyond the standard library's rules, duplicate keys, NaN, infinities, lone surrogates and nesting deeper than
    MAX_DEPTH are refused.

    Raises:
        BadRequest: with line and column where the parser knows them.
    """
    text = _decode(data)
    try:
        value = json.loads(
            text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite, parse_int=_short
        )
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"the JSON is broken at line {error.lineno}, column {error.colno}: {error.msg}",
            line=error.lineno,
            column=error.colno,
        ) from None
    except RecursionError:
        raise _too_deep() from None
    _check_tree(value)
    return value


def dumps(value: object) -> str:
    """JSON for people and clients: real characters, no NaN."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def canonical(value: object) -> bytes:
    """One spelling of `value`, for hashing: sorted keys, no blanks, UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()


def _decode(data: bytes) -> str:
    if not data.strip():
        raise BadRequest("the JSON is empty")
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if _looks_like_gbk(data):
            raise BadRequest("the text is not UTF-8; it looks like GBK: save it as UTF-8") from None
        raise BadRequest(f"the text is not valid {error.encoding.upper()} at byte {error.start}") from None


def _looks_like_gbk(data: bytes) -> bool:
    try:
        text = data.decode("gbk")
    except UnicodeDecodeError:
        return False
    beyond_ascii = [sign for sign in text if sign > "\x7f"]
    han = sum("\u4e00" <= sign <= "\u9fff" for sign in beyond_ascii)
    return han * 2 >= len(beyond_ascii)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRequest(f"the key {twice!r} stands twice in one object")
    return table


def _no_constant(name: str) -> NoReturn:
    raise BadRequest(f"{name} is not JSON; give a finite number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise BadRequest(f"the number {digits[:40]} is too large")
    return number


def _short(digits: str) -> int:
    # Python refuses to convert more than 4,300 digits with a ValueError that speaks of its own settings.
    if len(digits) > 100:
        raise BadRequest(f"the number {digits[:20]}... has too many digits")
    return int(digits)


def _check_tree(value: object) -> None:
    """Depth by depth, for millions of small values are to cost little more than reading them did."""
    deeper: list[Iterable[object]] = [(value,)]
    for _ in range(MAX_DEPTH + 1):
        nodes = [node for node in itertools.chain.from_iterable(deeper) if isinstance(node, str | dict | list)]
        for node in nodes:
            if isinstance(node, str):
                _check_text(node)
        tables = [node for node in nodes if not isinstance(node, str)]
        if not tables:
            return
        deeper = [_children(node) for node in tables if node]
    raise _too_deep()


def _children(node: dict[str, object] | list[object]) -> Iterable[object]:
    return itertools.chain(node.keys(), node.values()) if isinstance(node, dict) else node


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"a string holds half a character (the lone surrogate U+{ord(text[error.start]):04X})"
        ) from None


def _too_deep() -> BadRequest:
    return BadRequest(f"arrays and objects may be nested {MAX_DEPTH} deep at most")
