"""Bodies that both doors refuse, with words that the sentence must hold."""

from __future__ import annotations

import json

import pytest

#: Not JSON as we take it. (bytes, words of the sentence)
BROKEN_JSON = [
    pytest.param(b"", "the JSON is empty", id="empty"),
    pytest.param(b" \r\n\t", "the JSON is empty", id="blank"),
    pytest.param(b"\xff\xfe", "line 1, column 1", id="only a byte order mark"),
    pytest.param(b'{"text": "a"', "line 1, column 13", id="cut"),
    pytest.param(b'{\n  "text": "a"\n  "seed": 1\n}', "line 3, column 3", id="comma missing"),
    pytest.param(b"{'text': 'a'}", "line 1, column 2", id="single quotes"),
    pytest.param(b'{"text": "a"} x', "line 1, column 15", id="more behind it"),
    pytest.param(b'{"text": "a"}\x00\x00\x00', "line 1, column 14", id="padded with zeros"),
    pytest.param(b"\x00" * 64, "line 1, column 1", id="nothing but zeros"),
    pytest.param(b'{"text": "a\x01b"}', "line 1, column 12", id="raw control character"),
    pytest.param(b'{"text": NaN}', "NaN is not JSON", id="NaN"),
    pytest.param(b'{"text": -Infinity}', "-Infinity is not JSON", id="infinity"),
    pytest.param(b'{"text": 1e999}', "1e999 is too large", id="float beyond range"),
    pytest.param(b'{"seed": %s}' % (b"9" * 5000), "too many digits", id="5,000 digits"),
    pytest.param(b'{"text": "a", "text": "b"}', "'text' stands twice", id="key twice"),
    pytest.param(b'{"options": {"a": 1, "a": 1}}', "'a' stands twice", id="inner key twice"),
    pytest.param(b"[" * 33 + b"]" * 33, "32 deep at most", id="33 deep"),
    pytest.param(b'{"a":' * 100_000, "32 deep at most", id="100,000 deep"),
    pytest.param(rb'{"text": "\ud800"}', "half a character (the lone surrogate U+D800)", id="surrogate in a value"),
    pytest.param(rb'{"\udfff": "a"}', "half a character (the lone surrogate U+DFFF)", id="surrogate in a key"),
    pytest.param('{"text": "你好，世界"}'.encode("gbk"), "looks like GBK: save it as UTF-8", id="GBK"),
    pytest.param(b'{"text": "caf\xe9"}', "not valid UTF-8 at byte 13", id="latin-1"),
]


def _case(words: str, **keys: object) -> object:
    return pytest.param(keys, words, id=f"{words} {keys}"[:60])


#: Objects that are no request. (object, words of the sentence)
WRONG_REQUESTS = [
    _case("'text' is missing", output_path="out"),
    _case("'text' is blank", text=" \n\u3000"),
    _case("'text' must be a string", text=7),
    _case("too long", text="a" * 100_001),
    _case("unknown key 'prompt_nam'; did you mean 'prompt_path'?", text="a", prompt_nam="alice.wav"),
    _case("Specified prompt 'nobody.wav' not found.", text="a", prompt_path="nobody.wav"),
    _case("Specified prompt '../prompts/alice.wav' not found.", text="a", prompt_path="../prompts/alice.wav"),
    _case("'prompt_path' and 'prompt_name'", text="a", prompt_path="alice.wav", prompt_name="alice.wav"),
    _case("'infer_mode'", text="a", infer_mode="fast"),
    _case("'priority'", text="a", priority=10),
    _case("'priority' must be a whole number", text="a", priority=True),
    _case("'seed'", text="a", seed=-1),
    _case("'seed'", text="a", seed=2**32),
    _case("'format'", text="a", format="aac"),
    _case("options", text="a", options={"no_such": 1}),
    _case("output.roots", text="a", output_path="/etc"),
    _case("output.roots", text="a", output_path="../elsewhere"),
    _case("'~'", text="a", output_path="~/speech"),
    _case("control character", text="a", output_path="a\0b"),
    _case("blank", text="a", output_path=" "),
    _case("'speeches'", speeches={}),
    _case("'speeches'", speeches=["a.wav"]),
    _case("All filenames must end with .wav extension. Invalid filenames: a, b", speeches={"a": "x", "b": "y"}),
    _case("path", speeches={"../a.wav": "x"}),
    _case("blank", speeches={"a.wav": ""}),
    _case("unknown key 'text'", speeches={"a.wav": "x"}, text="a"),
]


def as_json(value: object) -> bytes:
    """UTF-8 JSON with real characters."""
    return json.dumps(value, ensure_ascii=False).encode()
