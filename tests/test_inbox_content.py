"""What a dropped file may hold: encodings, arrays, defaults; and how a wrong one is told."""

from __future__ import annotations

import json

import pytest

from tests.bad_payloads import BROKEN_JSON, WRONG_REQUESTS, as_json
from tests.drop_room import MAX_BYTES, DropRoom


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Shared: each test uses a file name of its own, or ends what it began."""
    made = DropRoom(tmp_path_factory.mktemp("content"))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _tidy(room):
    yield
    room.finish()
    room.inbox.scan()
    for folder in (room.folder / "done", room.folder / "failed"):
        for file in folder.iterdir():
            file.unlink()


def accepted(room, name, content):
    """The views of the tasks that a dropped file becomes."""
    room.drop(name, content)
    room.inbox.scan()
    room.finish()
    room.inbox.scan()
    return room.note(f"done/{name}.result.json")


@pytest.mark.parametrize(("data", "words"), BROKEN_JSON)
def test_broken_json_is_refused_with_a_sentence(room, data, words):
    note = room.refused("broken.json", data)
    assert words in note["detail"]
    assert note["tasks"] == []
    assert (room.folder / "failed/broken.json").read_bytes() == data


def test_the_note_of_broken_json_holds_its_place_as_numbers(room):
    note = room.refused("place.json", b'{\n  "text": "a"\n  "seed": 1\n}')
    assert list(note) == ["detail", "line", "column", "tasks", "at"]
    assert (note["line"], note["column"]) == (3, 3)


@pytest.mark.parametrize(("request_", "words"), WRONG_REQUESTS)
def test_a_wrong_request_is_refused_with_a_sentence(room, request_, words):
    note = room.refused("wrong.json", request_)
    assert words in note["detail"]
    assert list(note) == ["detail", "tasks", "at"]


@pytest.mark.parametrize(("request_", "words"), WRONG_REQUESTS)
def test_a_wrong_request_in_an_array_is_told_with_its_index(room, request_, words):
    note = room.refused("wrong.json", [{"text": "good"}, request_])
    assert words in note["detail"]
    assert note["index"] == 1


def test_an_array_with_one_wrong_object_becomes_no_task_at_all(room):
    before = room.store.accepted()
    room.refused("half.json", [{"text": "a"}, {"speeches": {"b.wav": "b"}}, {"text": ""}])
    assert room.store.accepted() == before


def test_an_array_whose_batches_promise_the_same_file_becomes_no_task_at_all(room):
    before = room.store.accepted()
    batch = {"speeches": {"same.wav": "a"}, "output_directory": "twice"}
    note = room.refused("promise.json", [batch, batch])
    assert "same.wav" in note["detail"]
    assert note["index"] == 1
    assert room.store.accepted() == before


def test_an_empty_array_is_refused(room):
    assert "the array is empty" in room.refused("empty.json", [])["detail"]


@pytest.mark.parametrize("content", ["text", 3, None, True])
def test_what_is_neither_object_nor_array_is_refused(room, content):
    assert "must be a JSON object, or an array" in room.refused("scalar.json", content)["detail"]


@pytest.mark.parametrize("item", ["text", None, [{"text": "a"}]])
def test_an_item_that_is_no_object_is_told_with_its_index(room, item):
    note = room.refused("items.json", [{"text": "a"}, {"text": "b"}, item])
    assert "must be a JSON object" in note["detail"]
    assert note["index"] == 2


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"],
)
def test_unicode_is_read_in_every_encoding(room, encoding):
    text = json.dumps({"text": "你好，世界。🎈", "idempotency_key": f"in {encoding}"}, ensure_ascii=False)
    room.drop("encoded.json", text.encode(encoding))
    room.inbox.scan()
    assert room.store.claim().text == "你好，世界。🎈"
    room.store.recover()


@pytest.mark.parametrize("mark", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_byte_order_mark_is_understood_in_either_order(room, mark):
    [view] = accepted(room, "marked.json", ("\ufeff" + json.dumps({"text": "好"}, ensure_ascii=False)).encode(mark))
    assert view["status"] == "completed"


def test_a_task_without_output_path_goes_to_a_folder_named_after_the_file(room):
    [view] = accepted(room, "My story.v2.JSON", {"text": "a"})
    assert view["output_path"] == str(room.outputs / "My story.v2")
    assert (room.outputs / "My story.v2").is_dir()


def test_a_batch_without_output_directory_goes_to_a_folder_named_after_the_file(room):
    [view] = accepted(room, "batch.json", {"speeches": {"a.wav": "a", "b.wav": "b"}})
    assert view["output_directory"] == str(room.outputs / "batch")
    assert (view["total_files"], view["processed_files"]) == (2, 2)


def test_null_means_that_the_folder_was_left_out(room):
    [view] = accepted(room, "null.json", {"text": "a", "output_path": None, "seed": None, "idempotency_key": None})
    assert view["output_path"] == str(room.outputs / "null")


def test_null_speeches_do_not_make_a_batch(room):
    [view] = accepted(room, "single.json", {"text": "a", "speeches": None})
    assert view["task_id"].startswith("task_")


def test_a_name_that_can_be_no_folder_is_said_to_be_the_files(room):
    note = room.refused("~home.json", {"text": "a"})
    assert "left out, so the file's name" in note["detail"]


def test_a_given_output_path_is_kept_as_it_was_sent(room):
    sent = f"{room.outputs}/a/../b/"
    [view] = accepted(room, "given.json", {"text": "a", "output_path": sent})
    assert view["output_path"] == sent
    assert (room.outputs / "b").is_dir()


def test_all_keys_of_a_posted_task_are_taken(room):
    request = {
        "text": "a",
        "output_path": "all",
        "infer_mode": "批次推理",
        "prompt_name": "alice.wav",
        "priority": 9,
        "seed": 2**32 - 1,
        "format": "flac",
        "options": {},
    }
    [view] = accepted(room, "all.json", request)
    assert {key: view[key] for key in ("infer_mode", "prompt", "priority", "seed")} == {
        "infer_mode": "批次推理",
        "prompt": "alice.wav",
        "priority": 9,
        "seed": 2**32 - 1,
    }
    assert view["output_file"].endswith(".flac")


def test_the_views_of_an_array_come_in_its_order(room):
    views = accepted(room, "order.json", [{"text": "a", "priority": n, "seed": n} for n in range(8)])
    assert [view["seed"] for view in views] == list(range(8))


def test_an_array_mixes_tasks_and_batches(room):
    views = accepted(room, "mixed.json", [{"text": "a"}, {"speeches": {"c.wav": "c"}}])
    assert [view["task_id"].split("_")[0] for view in views] == ["task", "batch"]


def test_the_same_idempotency_key_in_two_files_is_one_task(room):
    request = {"text": "once", "idempotency_key": "the key"}
    [first] = accepted(room, "first.json", request)
    [second] = accepted(room, "second.json", request)
    assert second["task_id"] == first["task_id"]


def test_the_same_idempotency_key_twice_in_an_array_is_one_task_seen_twice(room):
    item = {"text": "twice", "idempotency_key": "twice in one"}
    first, second = accepted(room, "twice.json", [item, item])
    assert first == second


def test_an_idempotency_key_used_for_another_request_is_refused(room):
    accepted(room, "key.json", {"text": "a", "idempotency_key": "reused"})
    note = room.refused("key2.json", [{"text": "z"}, {"text": "b", "idempotency_key": "reused"}])
    assert "'reused' was used for another request" in note["detail"]
    assert note["index"] == 1


@pytest.mark.parametrize("key", ["", 7, "a\nb", "k" * 256, ["k"]])
def test_a_malformed_idempotency_key_is_refused(room, key):
    assert "idempotency key must be" in room.refused("key.json", {"text": "a", "idempotency_key": key})["detail"]


def test_a_file_above_the_limit_is_refused_with_the_key_that_sets_it(room):
    note = room.refused("large.json", b'{"text": "a"}' + b" " * MAX_BYTES)
    assert f"larger than {MAX_BYTES} bytes (server.max_body_bytes)" in note["detail"]


def test_a_file_of_exactly_the_limit_is_read(room):
    request = as_json({"text": "a"})
    [view] = accepted(room, "full.json", request + b" " * (MAX_BYTES - len(request)))
    assert view["status"] == "completed"
