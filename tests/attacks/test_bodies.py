"""Large uploads and large numbers: each limit, what is kept on the way to it, and that a refusal leaves nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.api_door import exchange, http
from tests.attacks.crowd import Crowd, open_files
from tests.live import LiveDaemon, until

TASKS, BATCHES = "/api/tts/tasks", "/api/tts/batch_tasks"
TASK = {"text": "Hello.", "output_path": "x"}
MIB = 1024**2


@pytest.fixture(scope="module")
def small(make_door):
    """A door with limits that are quickly reached."""
    limits = {"text_chars": 20, "batch_files": 3, "queue": 2}
    return make_door(limits=limits, server={"max_body_bytes": 2048})


@pytest.fixture
def emptied(small):
    small.clear()
    return small


def memory_of(live: LiveDaemon) -> int:
    """Bytes of memory the daemon held at most until now."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{live.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def temporary_files(live: LiveDaemon) -> list[str]:
    return [name for name in open_files(live.pid) if name.endswith("(deleted)")]


# What is kept of what comes in


def test_uploads_make_no_temporary_files_and_what_is_too_large_is_not_kept(make_daemon, tell):
    daemon = make_daemon().start()
    before = memory_of(daemon)
    largest = json.dumps(TASK).encode().ljust(4 * MIB)
    with Crowd(daemon.port) as crowd:
        chunk = b"%x\r\n" % (20 * MIB) + bytes(20 * MIB)
        crowd.join(5, http(f"POST {TASKS}", f"Content-Length: {30 * MIB}", body=bytes(20 * MIB)))
        crowd.join(5, http(f"POST {TASKS}", "Transfer-Encoding: chunked", body=chunk))
        crowd.join(20, http(f"POST {TASKS}", f"Content-Length: {4 * MIB}", body=bytes(4 * MIB - 1)))
        assert temporary_files(daemon) == []

        def crowded_out():
            crowd.join(1, http(f"POST {TASKS}", f"Content-Length: {4 * MIB}", body=bytes(4 * MIB - 1)))
            answer = daemon.post(TASKS, largest)
            return answer.status == 503 and answer

        answer = until(crowded_out, "no room")
        assert daemon.submit()
        assert temporary_files(daemon) == []
        assert answer.headers["retry-after"] == "30"
        assert "large requests" in answer.detail
        grown = memory_of(daemon) - before
        assert grown < 180 * MIB, "64 MiB of bodies, what four threads make of one each, and what malloc keeps of that"
    # Who held all the room has left, and so there is room again.
    until(lambda: daemon.post(TASKS, largest).status == 200)
    tell(f"280 MB of bodies unfinished at once: the daemon grew by {grown / MIB:.0f} MB, and made no file")


# Each limit, one below and one above


def text(length: int) -> dict[str, object]:
    return TASK | {"text": "好" * length}


def batch(files: int) -> dict[str, object]:
    return {"output_directory": "x", "overwrite": True, "speeches": {f"{n}.wav": "x" for n in range(files)}}


def nested(depth: int) -> bytes:
    return b'{"text": "x", "output_path": "x", "unknown": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


LIMITS = {
    "limits.text_chars": (TASKS, text, 20),
    "limits.text_chars in a batch": (BATCHES, lambda n: batch(1) | {"speeches": {"a.wav": "x" * n}}, 20),
    "limits.batch_files": (BATCHES, batch, 3),
    "server.max_body_bytes": (TASKS, lambda n: json.dumps(TASK).encode().ljust(n), 2048),
    "a name's bytes": (BATCHES, lambda n: batch(1) | {"speeches": {"a" * (n - 4) + ".wav": "x"}}, 255),
    "seed": (TASKS, lambda n: TASK | {"seed": n}, 2**32 - 1),
    "priority": (TASKS, lambda n: TASK | {"priority": n}, 9),
}


@pytest.mark.parametrize(("path", "body", "most"), LIMITS.values(), ids=LIMITS)
def test_each_limit_holds_to_the_last_unit(emptied, path, body, most):
    before = emptied.store.accepted()
    assert emptied.post(path, body(most)).status == 200
    refused = emptied.post(path, body(most + 1))
    assert refused.status in (400, 413)
    assert refused.detail
    assert emptied.store.accepted() == before + 1


def test_json_may_be_32_deep(small):
    assert "unknown key" in small.post(TASKS, nested(32)).detail
    assert "32" in small.post(TASKS, nested(33)).detail


@pytest.mark.parametrize(("length", "status"), [(255, 200), (256, 400), (10_000, 400)])
def test_an_idempotency_key_is_at_most_255_characters(emptied, length, status):
    assert emptied.post(TASKS, TASK, **{"Idempotency-Key": "k" * length}).status == status


def test_a_full_queue_is_429_and_says_when_to_come_back(emptied):
    for _ in range(2):
        assert emptied.post(TASKS, TASK).status == 200
    for path, body in ((TASKS, TASK), (BATCHES, batch(1))):
        refused = emptied.post(path, body)
        assert refused.status == 429
        assert refused.headers["retry-after"] == "30"
        assert "limits.queue" in refused.detail
    emptied.clear()
    assert emptied.post(TASKS, TASK).status == 200


@pytest.mark.parametrize(
    "asked",
    [
        f"GET {TASKS}/" + "9" * 10_000,
        f"GET {TASKS}/task_{'9' * 10_000}_0",
        f"GET {TASKS}/task_1_{'9' * 10_000}",
        f"DELETE {TASKS}/batch_1_{'9' * 30}",
        f"GET {TASKS}?after=task_1_{'9' * 30}",
        f"GET {TASKS}?limit={'9' * 10_000}",
        f"GET {TASKS}?status={'x' * 10_000}",
        f"GET {TASKS}/task_{'٣' * 4}_0".encode().decode("latin-1"),
    ],
    ids=range(8),
)
def test_numbers_of_any_size_are_a_sentence(small, asked):
    status = int(exchange(small.port, http(asked)).split()[1])
    assert status in (200, 400, 404)
