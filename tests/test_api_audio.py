"""The finished file over HTTP: its type, its parts, and when there is none."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import pytest

from tests.api_door import connected, http
from tests.live import until

TASKS = "/api/tts/tasks"


def test_there_is_no_audio_before_the_end_nor_of_a_batch(door):
    task, batch = door.submit(), door.submit_batch({"a.wav": "a"})
    assert door.get(f"{TASKS}/{task}/audio").status == 409
    door.store.fail(door.claim(), "why")
    assert door.get(f"{TASKS}/{task}/audio").status == 409
    door.complete(door.claim())
    assert "batch" in door.get(f"{TASKS}/{batch}/audio").detail


@pytest.mark.parametrize(
    ("name", "kind"), [("wav", "audio/wav"), ("flac", "audio/flac"), ("ogg", "audio/ogg"), ("mp3", "audio/mpeg")]
)
def test_audio_has_the_type_of_its_format(door, name, kind):
    task = door.submit(format=name)
    door.complete(door.claim())
    answer = door.get(f"{TASKS}/{task}/audio")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, bytes(range(200)))
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture(scope="module")
def audio(door):
    """The address of a finished file of 200 bytes, 0 to 199."""
    door.clear()
    task = door.submit()
    door.complete(door.claim())
    return f"{TASKS}/{task}/audio"


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("0-0", 0, 0), ("0-3", 0, 3), ("10-", 10, 199), ("-4", 196, 199), ("190-9999", 190, 199), ("-9999", 0, 199)],
)
def test_a_range_is_answered_with_its_part(door, audio, wanted, first, last):
    answer = door.get(audio, Range=f"bytes={wanted}")
    assert (answer.status, answer.body) == (206, bytes(range(first, last + 1)))
    assert answer.headers["content-range"] == f"bytes {first}-{last}/200"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("wanted", ["200-", "300-400", "-0", "5-2"])
def test_a_range_outside_the_file_is_refused_with_its_size(door, audio, wanted):
    answer = door.get(audio, Range=f"bytes={wanted}")
    assert answer.status == 416
    assert answer.headers["content-range"] == "bytes */200"
    assert "outside" in answer.detail


@pytest.mark.parametrize("header", ["items=0-3", "bytes=x", "bytes=", "0-3", "bytes=0-1,5-6", ""])
def test_what_is_no_single_range_is_ignored(door, audio, header):
    answer = door.get(audio, Range=header)
    assert (answer.status, len(answer.body)) == (200, 200)


def test_a_part_of_another_file_is_not_continued(door, audio):
    tag = door.get(audio).headers["etag"]
    assert re.fullmatch(r'"[^"]+"', tag)
    assert door.get(audio, **{"Range": "bytes=9-", "If-Range": tag}).status == 206
    assert door.get(audio, **{"Range": "bytes=9-", "If-Range": '"other"'}).status == 200
    changed = door.get(audio).headers["last-modified"]
    assert door.get(audio, **{"Range": "bytes=9-", "If-Range": changed}).status == 206
    assert door.get(audio, **{"Range": "bytes=9-", "If-Range": "Thu, 01 Jan 1970 00:00:00 GMT"}).status == 200


def test_audio_that_was_taken_away_is_not_found(door):
    task = door.submit()
    claimed = door.claim()
    door.complete(claimed)
    (door.outputs / "out" / claimed.file_name).unlink()
    answer = door.get(f"{TASKS}/{task}/audio")
    assert answer.status == 404
    assert "no longer" in answer.detail


def test_what_the_client_has_already_is_not_sent_again(door, audio):
    whole = door.get(audio)
    tag, changed = whole.headers["etag"], whole.headers["last-modified"]
    for headers in (
        {"If-None-Match": tag},
        {"If-None-Match": f'"other", W/{tag}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": changed},
        {"If-None-Match": tag, "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "Range": "bytes=0-3"},
    ):
        answer = door.get(audio, **headers)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag), headers


def test_what_the_client_has_is_something_else(door, audio):
    changed = door.get(audio).headers["last-modified"]
    for headers in (
        {"If-None-Match": '"other"'},
        {"If-None-Match": '"other"', "If-Modified-Since": changed},  # the tag says more than the date
        {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"If-Modified-Since": "yesterday"},
    ):
        answer = door.get(audio, **headers)
        assert (answer.status, len(answer.body)) == (200, 200), headers


def test_a_head_tells_what_a_get_would_send(door, audio):
    for headers in ({}, {"Range": "bytes=10-19"}, {"Range": "bytes=900-"}):
        got, told = (door.ask(method, audio, headers=headers) for method in ("GET", "HEAD"))
        got.headers.pop("date"), told.headers.pop("date")
        assert (told.status, told.headers, told.body) == (got.status, got.headers, b"")


@pytest.fixture
def long_audio(door):
    """The address of a finished file that is longer than all buffers on the way, and the file."""
    door.clear()
    task = door.submit()
    claimed = door.claim()
    door.complete(claimed)
    file = door.outputs / "out" / claimed.file_name
    with file.open("r+b") as opened:
        opened.truncate(LONG)
    yield f"{TASKS}/{task}/audio", file
    file.unlink()


LONG = 64 * 2**20


def held_open(file):
    """How often this process, which the server is a thread of, has the file open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += link.readlink() == file
    return found


def reading_slowly(door, address, *headers):
    """A client that takes the beginning of its answer, and then its time."""
    line = connected(door.port)
    line.sendall(http(f"GET {address}", *headers))
    assert line.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 206")
    return line


@pytest.mark.parametrize("header", ["X-Whole: yes", "Range: bytes=1-"])
def test_clients_that_do_not_read_hold_no_thread(door, long_audio, header):
    address, file = long_audio
    with contextlib.ExitStack() as lines:
        for _ in range(20):  # more than the server has threads
            lines.enter_context(reading_slowly(door, address, header))
        assert door.get("/api/tts/prompts").status == 200
        assert door.get(address, Range="bytes=0-3").status == 206
        until(lambda: held_open(file) == 20, "only those of the slow ones are open")
    until(lambda: held_open(file) == 0, "all are closed when their clients have gone")


def test_whatever_is_answered_the_file_is_closed(door, long_audio):
    address, file = long_audio
    tag = door.get(address, Range="bytes=0-0").headers["etag"]
    for method, headers, status in [
        ("GET", {"Range": "bytes=5-2000000"}, 206),
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("HEAD", {"Range": "bytes=0-3"}, 206),
        ("GET", {"If-None-Match": tag}, 304),
        ("GET", {"Range": "bytes=999999999-"}, 416),
    ]:
        assert door.ask(method, address, headers=headers).status == status
        until(lambda: held_open(file) == 0, f"the file is closed after {method} {headers}")


def test_a_file_that_is_cut_short_while_it_is_sent_ends_the_answer(door, long_audio):
    """The server's loop must not wait for bytes that will never come: its client does, until it hangs up."""
    address, file = long_audio
    with reading_slowly(door, address) as line:
        os.truncate(file, 1_000_000)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := line.recv(2**20):
                received += len(part)
    assert received < LONG
    until(lambda: held_open(file) == 0)


def test_an_emptied_file_is_answered_empty(door, long_audio):
    address, file = long_audio
    os.truncate(file, 0)
    answer = door.get(address)
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert door.get(address, Range="bytes=0-").status == 416
