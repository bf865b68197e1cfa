"""The finished file over HTTP: its type, its parts, and when there is none."""

from __future__ import annotations

import re

import pytest

from tests.api_door import Door

TASKS = "/api/tts/tasks"


def test_there_is_no_audio_before_the_end_nor_of_a_batch(unspoken):
    task, batch = unspoken.submit(), unspoken.submit_batch({"a.wav": "a"})
    assert unspoken.get(f"{TASKS}/{task}/audio").status == 409
    unspoken.store.fail(unspoken.claim(), "why")
    assert unspoken.get(f"{TASKS}/{task}/audio").status == 409
    unspoken.complete(unspoken.claim())
    assert "batch" in unspoken.get(f"{TASKS}/{batch}/audio").detail


@pytest.mark.parametrize(
    ("name", "kind"), [("wav", "audio/wav"), ("flac", "audio/flac"), ("ogg", "audio/ogg"), ("mp3", "audio/mpeg")]
)
def test_audio_has_the_type_of_its_format(unspoken, name, kind):
    task = unspoken.submit(format=name)
    unspoken.complete(unspoken.claim())
    answer = unspoken.get(f"{TASKS}/{task}/audio")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, bytes(range(200)))
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture(scope="module")
def unspoken(tmp_path_factory, empty_ledger):
    """A door for tests that complete their own task."""
    door = Door(tmp_path_factory.mktemp("unspoken"), empty_ledger)
    yield door
    door.close()


@pytest.fixture(scope="module")
def audio(unspoken):
    """The address of a finished file of 200 bytes, 0 to 199."""
    unspoken.clear()
    task = unspoken.submit()
    unspoken.complete(unspoken.claim())
    return f"{TASKS}/{task}/audio"


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("0-0", 0, 0), ("0-3", 0, 3), ("10-", 10, 199), ("-4", 196, 199), ("190-9999", 190, 199), ("-9999", 0, 199)],
)
def test_a_range_is_answered_with_its_part(unspoken, audio, wanted, first, last):
    answer = unspoken.get(audio, Range=f"bytes={wanted}")
    assert (answer.status, answer.body) == (206, bytes(range(first, last + 1)))
    assert answer.headers["content-range"] == f"bytes {first}-{last}/200"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("wanted", ["200-", "300-400", "-0", "5-2"])
def test_a_range_outside_the_file_is_refused_with_its_size(unspoken, audio, wanted):
    answer = unspoken.get(audio, Range=f"bytes={wanted}")
    assert answer.status == 416
    assert answer.headers["content-range"] == "bytes */200"
    assert "outside" in answer.detail


@pytest.mark.parametrize("header", ["items=0-3", "bytes=x", "bytes=", "0-3", "bytes=0-1,5-6", ""])
def test_what_is_no_single_range_is_ignored(unspoken, audio, header):
    answer = unspoken.get(audio, Range=header)
    assert (answer.status, len(answer.body)) == (200, 200)


def test_a_part_of_another_file_is_not_continued(unspoken, audio):
    tag = unspoken.get(audio).headers["etag"]
    assert re.fullmatch(r'"[^"]+"', tag)
    assert unspoken.get(audio, **{"Range": "bytes=9-", "If-Range": tag}).status == 206
    assert unspoken.get(audio, **{"Range": "bytes=9-", "If-Range": '"other"'}).status == 200
    changed = unspoken.get(audio).headers["last-modified"]
    assert unspoken.get(audio, **{"Range": "bytes=9-", "If-Range": changed}).status == 206
    assert unspoken.get(audio, **{"Range": "bytes=9-", "If-Range": "Thu, 01 Jan 1970 00:00:00 GMT"}).status == 200


def test_audio_that_was_taken_away_is_not_found(unspoken):
    task = unspoken.submit()
    claimed = unspoken.claim()
    unspoken.complete(claimed)
    (unspoken.outputs / "out" / claimed.file_name).unlink()
    answer = unspoken.get(f"{TASKS}/{task}/audio")
    assert answer.status == 404
    assert "no longer" in answer.detail
