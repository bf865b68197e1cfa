"""What the routes refuse, over HTTP: every answer is one JSON sentence, and nothing refused is accepted."""

from __future__ import annotations

import json
import re
import socket
import sqlite3

import pytest

from tests.api_door import Door, http
from tests.live import PATIENCE

TASKS, BATCHES = "/api/tts/tasks", "/api/tts/batch_tasks"
TASK = {"text": "Hello.", "output_path": "x"}
BATCH = {"output_directory": "x", "speeches": {"a.wav": "Hello."}}
MIB = 1024**2


@pytest.fixture
def nothing_accepted(door):
    before = door.store.accepted()
    yield
    assert door.store.accepted() == before


def spaced(body: object, size: int) -> bytes:
    """JSON of exactly `size` bytes."""
    return json.dumps(body).encode().ljust(size)


# Wrong requests


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("text", [1, True, [], {}, "", " \n"]),
        ("output_path", [1, [], "", " ", "/etc", "..", "x/../../y", "~", "~root/x", "x/~", "x\0", "x\\y", "x" * 256]),
        ("infer_mode", [1, "", "fast", "普通推理 "]),
        ("prompt_path", [1, [], "", "zz.wav", "../prompts/alice.wav", "/etc/passwd", "alice"]),
        ("prompt_name", [1, "zz.wav"]),
        ("priority", [-1, 10, 5.0, "5", True, 10**50]),
        ("seed", [-1, 2**32, 1.0, "1", False]),
        ("format", ["", "WAV", "aac", 1]),
        ("options", [[], "x", 1, {"speed": 1}]),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(door, nothing_accepted, key, values):
    for value in values:
        answer = door.post(TASKS, TASK | {key: value})
        assert answer.status == 400, value
        assert answer.detail


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("output_directory", [1, None, "/etc", "../x"]),
        ("speeches", [None, [], {}, "a.wav", {"a.wav": 1}, {"a.wav": None}, {"a.wav": ""}, {"a": "x"}, {"": "x"}]),
        (
            "speeches",
            [{name: "x"} for name in ("../a.wav", "x/a.wav", "x\\a.wav", ".a.wav", "a\n.wav", "é" * 130 + ".wav")],
        ),
        ("overwrite", [1, "true", []]),
        ("format", ["wav"]),
        ("text", ["x"]),
    ],
)
def test_a_wrong_batch_is_refused_with_a_sentence(door, nothing_accepted, key, values):
    for value in values:
        answer = door.post(BATCHES, BATCH | {key: value})
        assert answer.status == 400, value
        assert answer.detail


@pytest.mark.parametrize(("path", "body"), [(TASKS, TASK), (BATCHES, BATCH)])
def test_a_missing_or_null_required_key_is_named(door, nothing_accepted, path, body):
    for key in body:
        without = {name: value for name, value in body.items() if name != key}
        assert door.post(path, without).detail == f"the key '{key}' is missing"
        assert door.post(path, body | {key: None}).detail == f"the key '{key}' is missing"


def test_an_unknown_key_is_refused_with_the_nearest_valid_one(door, nothing_accepted):
    words = "unknown key 'prompt_nam'; did you mean 'prompt_path'?"
    assert door.post(TASKS, TASK | {"prompt_nam": "alice.wav"}).detail == words
    assert door.post(BATCHES, BATCH | {"prompt_nam": None}).detail == words
    assert "'text'" in door.post(TASKS, {"txt": "x", "output_path": "x"}).detail


def test_the_originals_sentences_are_kept(door, nothing_accepted):
    assert door.post(TASKS, TASK | {"prompt_path": "zz"}).detail == "Specified prompt 'zz' not found."
    words = "All filenames must end with .wav extension. Invalid filenames: a, b"
    assert door.post(BATCHES, BATCH | {"speeches": {"a": "x", "b": "y", "c.wav": "z"}}).detail == words


def test_a_folder_outside_the_roots_names_the_key_that_allows_more(door, nothing_accepted):
    for path in ("/tmp", f"{door.folder}/outputs-other", f"{door.outputs}/../x"):
        assert "output.roots" in door.post(TASKS, TASK | {"output_path": path}).detail


def test_a_folder_that_cannot_be_written_is_refused(door, nothing_accepted):
    (door.outputs / "file").write_text("in the way")
    assert "cannot be written" in door.post(TASKS, TASK | {"output_path": "file/x"}).detail


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"[]", b"null", b'"x"', b"\xff", b"text=Hello&output_path=x"),
        *(b'{"text": "x", "text": "x", "output_path": "x"}', b'{"text": "x", "output_path": "x", "seed": NaN}'),
        *(b'{"text": "\\ud800", "output_path": "x"}', b'{"text": "x", "output_path": "x", "seed": 1e999}'),
        b'{"text": "x", "output_path": "x", "options": ' + b"[" * 32 + b"]" * 32 + b"}",
        b"[" * 100_000,
        '{"text": "你好", "output_path": "x"}'.encode("gbk"),
    ],
)
def test_what_is_not_one_strict_json_object_is_refused(door, nothing_accepted, body):
    for path in (TASKS, BATCHES):
        answer = door.post(path, body)
        assert answer.status == 400
        assert answer.detail


@pytest.mark.parametrize("key", [b"", b"\xff", b"x" * 256, b"a\tb", "\u200b".encode()])
def test_a_wrong_idempotency_key_is_refused(door, nothing_accepted, key):
    body = json.dumps(TASK).encode()
    headers = [f"Content-Length: {len(body)}", f"Idempotency-Key: {key.decode('latin-1')}"]
    answer = door.raw(http(f"POST {TASKS}", *headers, body=body))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"detail": "' in answer


# Sizes and ways of sending


def test_a_body_at_the_limit_is_read_and_above_it_is_413(door):
    assert door.post(TASKS, spaced(TASK, 4 * MIB)).status == 200
    for size in (4 * MIB + 1, 5 * MIB, 64 * MIB):
        answer = door.post(TASKS, spaced(TASK, size))
        assert answer.status == 413
        assert "server.max_body_bytes" in answer.detail
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_text_of_a_megabyte_is_refused_by_its_length(door, nothing_accepted):
    assert "too long" in door.post(TASKS, TASK | {"text": "好" * 350_000}).detail


def test_a_chunked_body_is_a_body(door):
    body = json.dumps(TASK).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    sent = http(f"POST {TASKS}", "Transfer-Encoding: chunked", body=chunks + b"0\r\n\r\n")
    assert b'"status": "pending"' in door.raw(sent)
    # Longer than what is read at all: the size is known only when it is there.
    large = b"%x\r\n%s\r\n0\r\n\r\n" % (5 * MIB, b" " * 5 * MIB)
    answer = door.raw(http(f"POST {TASKS}", "Transfer-Encoding: chunked", body=large))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"server.max_body_bytes" in answer


def test_a_client_that_asks_first_is_told_to_continue(door):
    body = json.dumps(TASK).encode()
    with socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) as line:
        line.sendall(http(f"POST {TASKS}", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert line.recv(4096).startswith(b"HTTP/1.1 100 ")
        line.sendall(body)
        assert line.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "nonsense", "application/xml"])
def test_the_content_type_does_not_matter(door, kind):
    assert door.post(TASKS, TASK, **{"Content-Type": kind}).status == 200


# Addresses and methods


@pytest.mark.parametrize(
    "path", ["/health/", "/api/tts/health/", "/api/tts/prompts/", "/api/tts/tasks/", "/api/tts/stats/", "/ready/"]
)
def test_a_trailing_slash_is_accepted(door, path):
    assert door.get(path).status == 200


def test_a_trailing_slash_is_accepted_below_a_task_too(door):
    task = door.post(f"{TASKS}/", TASK).json["task_id"]
    assert door.get(f"{TASKS}/{task}/").status == 200
    assert door.delete(f"{TASKS}/{task}/").status == 200
    assert door.post(f"{TASKS}/{task}/retry/").status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/nope", "/api", "/api/tts", "/api/tts/batch_tasks/batch_1_0", "/health/x", "/a%2Fb", "/%00", "/'<script>"],
)
def test_an_unknown_address_is_404(door, path):
    answer = door.get(path)
    assert answer.status == 404
    assert answer.detail
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", "GET"),
        ("PUT", TASKS, "GET,POST"),
        ("DELETE", TASKS, "GET,POST"),
        ("GET", BATCHES, "POST"),
        ("HEAD", BATCHES, "POST"),
        ("PATCH", f"{TASKS}/task_1_0", "DELETE,GET"),
        ("GET", f"{TASKS}/task_1_0/retry", "POST"),
        ("OPTIONS", TASKS, "GET,POST"),
        ("TRACE", "/health", "GET"),
        ("BREW", "/health", "GET"),
    ],
)
def test_a_method_that_is_not_possible_is_405(door, method, path, allowed):
    answer = door.ask(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert answer.headers["x-content-type-options"] == "nosniff"
    if method != "HEAD":
        assert answer.detail


@pytest.mark.parametrize("path", ["/health", TASKS, "/api/tts/prompts", "/nope", f"{TASKS}/nope", "/%ff"])
def test_head_answers_as_get_without_a_body(door, path):
    head, get = door.ask("HEAD", path), door.get(path)
    assert (head.status, head.body) == (get.status, b"")
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


def test_a_refused_head_leaves_the_connection_usable(door):
    both = b"HEAD /health HTTP/1.1\r\nHost: evil.example\r\n\r\n" + http("GET /health")
    answers = door.raw(both)
    assert re.fullmatch(
        rb"HTTP/1\.1 403 .*?\r\n\r\nHTTP/1\.1 200 .*?\r\n\r\n\{\"status\": \"ok\"\}", answers, re.DOTALL
    )


@pytest.mark.parametrize("path", ["/hea%ffth", "/hea%fflth", f"{TASKS}/task_1_0%ff", f"{TASKS}?status=%ff", "/%c3"])
def test_an_address_that_is_not_utf_8_is_refused(door, path):
    answer = door.get(path)
    assert (answer.status, answer.detail) == (400, "the address is not UTF-8")


def test_an_address_may_be_percent_encoded(door):
    task = door.submit()
    encoded = "".join(f"%{sign:02x}" for sign in f"{TASKS}/{task}".encode()).replace("%2f", "/")
    assert door.get(encoded).json["task_id"] == task


# Faults of ours


def test_an_internal_error_is_named_and_its_cause_is_only_in_the_log(tmp_path, empty_ledger, caplog):
    door = Door(tmp_path / "broken", empty_ledger)
    try:
        ledger = sqlite3.connect(door.folder / "state" / "indexttsd.db")
        ledger.execute("ALTER TABLE tasks RENAME TO gone")
        for answer in (door.get(TASKS), door.post(TASKS, TASK)):
            assert answer.status == 500
            found = re.fullmatch(r"internal error ([0-9a-f]{8})", answer.detail)
            assert found
            assert answer.headers["x-content-type-options"] == "nosniff"
            [record] = [record for record in caplog.records if found[1] in record.getMessage()]
            assert record.exc_info
            assert "no such table" in caplog.text
        ledger.execute("ALTER TABLE gone RENAME TO tasks")
        ledger.close()
        assert door.post(TASKS, TASK).status == 200
    finally:
        door.close()
