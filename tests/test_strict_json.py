"""JSON from outside: what is read, and what is refused with which sentence."""

from __future__ import annotations

import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import strict_json
from daemon.errors import BadRequest

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**90), 10**90)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Surrogates are no characters (category Cs).
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def refusal(data: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        strict_json.parse(data)
    return caught.value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_every_unicode_encoding_is_read(encoding):
    assert strict_json.parse('{"text": "你好 🙂"}'.encode(encoding)) == {"text": "你好 🙂"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \r\n\t ", "empty"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice"),
        (b'{"x": {"a": 1, "a": 1}}', "the key 'a' stands twice"),
        (b'{"a": 1, "\\u0061": 2}', "the key 'a' stands twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"[1e999]", "1e999 is too large"),
        (b"[-1e999]", "-1e999 is too large"),
        (b'["\\ud800"]', "lone surrogate U+D800"),
        (b'["\\udc00\\ud83d"]', "lone surrogate U+DC00"),
        (b'{"\\udfff": 1}', "lone surrogate U+DFFF"),
        (b'{"a": {"b": ["x\\ud800"]}}', "lone surrogate U+D800"),
        (b"1" * 101, "too many digits"),
        (b"-" + b"9" * 5000, "too many digits"),
        (b"[" * 100_000, "32 deep"),
        (b'{"a":' * 100_000, "32 deep"),
        (b"[" * 33 + b"]" * 33, "32 deep"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "32 deep"),
        ('{"text": "你好，世界"}'.encode("gbk"), "looks like GBK"),
        ('{"text": "Grüße"}'.encode("latin-1"), "not valid UTF-8 at byte 12"),
        (b'{"text": "\xed\xa0\x80"}', "not valid UTF-8 at byte 10"),
        (b'{"text": "\xff"}', "not valid UTF-8"),
        (b"\xff\xfe{", "not valid UTF-16"),
        (b"\xff\xfe", "broken"),
        (b'{"a": 1,}', "broken at line 1"),
        (b"{'a': 1}", "broken at line 1, column 2"),
        (b'{"a": 1} x', "broken at line 1, column 10"),
        (b'{"a": "new\nline"}', "broken"),
        (b'{"a": 1', "broken"),
        (b"{a}", "broken"),
    ],
)
def test_what_is_not_strict_json_is_refused_by_its_fault(data, words):
    assert words in str(refusal(data))


def test_the_deepest_allowed_nesting_is_read():
    assert strict_json.parse(b"[" * 32 + b"]" * 32)
    assert strict_json.parse(b'{"a":' * 32 + b"1" + b"}" * 32)


def test_deep_brackets_are_refused_in_a_thread_too():
    # A thread's stack is smaller than the main thread's.
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(str(refusal(b"[" * 1_000_000))))
    thread.start()
    thread.join()
    assert "32 deep" in found[0]


def test_broken_json_is_located():
    error = refusal('{\n  "text": "好",\n  "seed": x\n}'.encode())
    assert (error.line, error.column) == (3, 11)


def test_paired_surrogates_are_one_character():
    assert strict_json.parse(b'"\\ud83d\\ude42"') == "🙂"


@pytest.mark.parametrize("digits", ["0", "-1", "4294967296", "9" * 100, "1e308", "1e-999", "0.1"])
def test_numbers_that_fit_are_read(digits):
    assert strict_json.parse(digits.encode()) == json.loads(digits)


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_what_is_written_is_read_back(value):
    assert strict_json.parse(strict_json.dumps(value).encode()) == value
    assert strict_json.parse(strict_json.canonical(value)) == value


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_one_sentence(data):
    try:
        strict_json.parse(data)
    except BadRequest as error:
        assert str(error)
        assert "\n" not in str(error)


def test_the_canonical_spelling_forgets_order_and_blanks():
    one, other = (strict_json.parse(data) for data in (b'{"b": 1, "a": "\\u597d"}', '{"a":"好","b":1}'.encode()))
    assert strict_json.canonical(one) == strict_json.canonical(other) == '{"a":"好","b":1}'.encode()


def test_dumps_writes_real_characters_and_no_nan():
    assert strict_json.dumps({"text": "好"}) == '{"text": "好"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict_json.dumps(float("nan"))
