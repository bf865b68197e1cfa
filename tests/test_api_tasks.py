"""The routes about tasks, over HTTP and a real ledger; the test stands in for the worker."""

from __future__ import annotations

import re
import threading

import pytest

from tests.api_door import Door

TASKS, BATCHES = "/api/tts/tasks", "/api/tts/batch_tasks"


@pytest.fixture
def door(tmp_path, empty_ledger):
    door = Door(tmp_path / "door", empty_ledger)
    yield door
    door.close()


@pytest.fixture
def narrow_door(tmp_path, empty_ledger):
    door = Door(tmp_path / "narrow", empty_ledger, limits={"queue": 1})
    yield door
    door.close()


def ids(answer):
    return [view["task_id"] for view in answer.json["tasks"]]


# Accepting


def test_answers_have_exactly_the_documents_keys(door):
    single = door.post(TASKS, {"text": "你好", "output_path": "x"}).json
    batch = door.post(BATCHES, {"output_directory": "x", "speeches": {"a.wav": "a", "b.wav": "b"}}).json
    assert list(single) == ["task_id", "status"]
    assert list(batch) == ["task_id", "status", "total_files"]
    assert re.fullmatch(r"task_[0-9]{10}_0", single["task_id"])
    assert re.fullmatch(r"batch_[0-9]{10}_1", batch["task_id"])
    assert (single["status"], batch["status"], batch["total_files"]) == ("pending", "pending", 2)


def test_refusals_and_replays_do_not_count(door):
    body = {"text": "x", "output_path": "x"}
    assert door.post(TASKS, {"text": "", "output_path": "x"}).status == 400
    first = door.post(TASKS, body, **{"Idempotency-Key": "k"})
    assert door.post(TASKS, body, **{"Idempotency-Key": "k"}).body == first.body
    assert door.post(TASKS, body | {"seed": 1}, **{"Idempotency-Key": "k"}).status == 400
    assert door.post(BATCHES, {"output_directory": "x", "speeches": {"a": "a"}}).status == 400
    assert [door.submit().rpartition("_")[2] for _ in range(2)] == ["1", "2"]


def test_the_same_request_from_many_clients_is_one_task(door):
    start, found = threading.Barrier(16), []

    def post():
        start.wait()
        found.append(door.post(TASKS, {"text": "x", "output_path": "x"}, **{"Idempotency-Key": "crowd"}).body)

    threads = [threading.Thread(target=post) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    assert len(ids(door.get(TASKS))) == 1


def test_many_clients_at_once_get_different_tasks(door):
    start, found = threading.Barrier(16), []

    def post():
        start.wait()
        found.append(door.submit())

    threads = [threading.Thread(target=post) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(task_id.rpartition("_")[2]) for task_id in found) == list(range(16))


def test_a_full_queue_says_when_to_come_again(narrow_door):
    first = narrow_door.submit()
    for path, body in (
        (TASKS, {"text": "x", "output_path": "x"}),
        (BATCHES, {"output_directory": "x", "speeches": {"a.wav": "x"}}),
    ):
        answer = narrow_door.post(path, body)
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) > 0
        assert "1 tasks are waiting" in answer.detail
    claimed = narrow_door.claim()
    assert claimed.task_id == first
    assert narrow_door.submit().endswith("_1")


def test_the_output_folder_is_made_and_shown_as_it_was_sent(door):
    sent = f"{door.outputs}//books/./one/"
    assert door.view(door.submit(output_path=sent))["output_path"] == sent
    assert (door.outputs / "books" / "one").is_dir()
    assert door.view(door.submit(output_path="books/two"))["output_path"] == str(door.outputs / "books" / "two")


# Showing


def test_a_waiting_task_shows_its_place_in_the_queue(door):
    low, first, second, high = (door.submit(priority=p) for p in (0, 5, 5, 9))
    assert [door.view(task)["queue_position"] for task in (high, first, second, low)] == [0, 1, 2, 3]
    assert [door.claim().task_id for _ in range(4)] == [high, first, second, low]
    assert "queue_position" not in door.view(high)


def test_the_keys_of_a_view_follow_the_status(door):
    tasks = [door.submit() for _ in range(3)]
    assert {"error", "process_time", "output_file", "started_at"}.isdisjoint(door.view(tasks[0]))
    done, failed = door.claim(), door.claim()
    assert door.view(tasks[0])["status"] == "processing"
    assert {"error", "process_time", "output_file", "queue_position"}.isdisjoint(door.view(tasks[0]))
    door.complete(done)
    door.store.fail(failed, "why")
    completed, broken, waiting = map(door.view, tasks)
    assert (completed["status"], completed["process_time"], completed["progress"]) == ("completed", 0.25, 1.0)
    assert completed["output_file"].endswith(f"/{tasks[0]}.wav")
    assert "error" not in completed
    assert (broken["status"], broken["error"], broken["process_time"]) == ("failed", "why", 0.0)
    assert "output_file" not in broken
    assert waiting["queue_position"] == 0


@pytest.mark.parametrize("route", ["", "/retry", "/audio"])
@pytest.mark.parametrize("task_id", ["nope", "task_1_0", "batch_1_0", "task_1_99999999999999999", "任务"])
def test_an_unknown_task_is_not_found_by_its_own_name(unchanging, task_id, route):
    from urllib.parse import quote

    method = "POST" if route == "/retry" else "GET"
    answer = unchanging.ask(method, f"{TASKS}/{quote(task_id)}{route}")
    assert (answer.status, answer.detail) == (404, f"Task with ID '{task_id}' not found")


def test_a_task_is_known_by_its_whole_id_only(unchanging):
    kind, seconds, n = unchanging.known.split("_")
    for other in (f"batch_{seconds}_{n}", f"{kind}_{int(seconds) + 1}_{n}", f"{kind}_{seconds}_0{n}"):
        assert unchanging.get(f"{TASKS}/{other}").status == 404
    assert unchanging.delete(f"{TASKS}/task_1_0").status == 404


@pytest.fixture(scope="module")
def unchanging(make_door):
    """A door with one waiting task, for tests that change nothing."""
    door = make_door()
    door.known = door.submit()
    return door


# The list


def test_the_list_goes_page_by_page_newest_first(door):
    tasks = [door.submit() for _ in range(5)][::-1]
    assert ids(door.get(TASKS)) == tasks
    assert door.get(TASKS).json["next"] is None
    first = door.get(f"{TASKS}?limit=2")
    assert (ids(first), first.json["next"]) == (tasks[:2], tasks[1])
    second = door.get(f"{TASKS}?limit=2&after={first.json['next']}")
    door.submit()
    third = door.get(f"{TASKS}?limit=2&after={second.json['next']}")
    assert (ids(second), ids(third), third.json["next"]) == (tasks[2:4], tasks[4:], None)
    assert door.get(f"{TASKS}?limit=6").json["next"] is None


def test_the_list_of_an_empty_ledger_is_empty(door):
    assert door.get(TASKS).json == {"tasks": [], "next": None}


def test_the_list_can_be_of_one_status(door):
    tasks = [door.submit() for _ in range(5)]
    door.complete(door.claim())
    door.store.fail(door.claim(), "why")
    door.delete(f"{TASKS}/{tasks[2]}")
    door.claim()
    wanted = {"completed": [tasks[0]], "failed": [tasks[2], tasks[1]], "processing": [tasks[3]], "pending": [tasks[4]]}
    assert {status: ids(door.get(f"{TASKS}?status={status}")) for status in wanted} == wanted
    stats = door.get("/api/tts/stats").json
    assert stats["tasks"] == {"pending": 1, "processing": 1, "completed": 1, "failed": 2}
    assert door.get(f"{TASKS}?status=failed&limit=1").json["next"] == tasks[2]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=1.0", "limit=%D9%A2", f"limit={'9' * 5000}"),
        *("status=", "status=cancelled", "status=%ff", "after=", "after=nope", "after=task_1_x"),
    ],
)
def test_a_wrong_question_is_refused(unchanging, query):
    answer = unchanging.get(f"{TASKS}?{query}")
    assert answer.status == 400
    assert answer.detail


def test_the_list_shows_the_first_100_errors_of_a_batch(door):
    batch = door.submit_batch({f"{index}.wav": "a" for index in range(101)})
    door.delete(f"{TASKS}/{batch}")
    [listed] = door.get(TASKS).json["tasks"]
    errors = door.view(batch)["errors"]
    assert len(errors) == listed["total_files"] == 101
    assert listed["errors"] == errors[:100]


def test_the_largest_page_is_1000(unchanging):
    assert ids(unchanging.get(f"{TASKS}?limit=1000")) == [unchanging.known]


# Cancelling


def test_a_waiting_task_is_cancelled_at_once(door):
    task = door.submit()
    answer = door.delete(f"{TASKS}/{task}")
    assert answer.status == 200
    assert (answer.json["status"], answer.json["error"], answer.json["process_time"]) == ("failed", "cancelled", 0.0)
    assert answer.json == door.view(task)
    assert door.store.claim() is None
    assert door.delete(f"{TASKS}/{task}").status == 409


def test_a_task_in_work_is_cancelled_by_its_worker(door):
    task = door.submit()
    claimed = door.claim()
    answer = door.delete(f"{TASKS}/{task}")
    assert (answer.status, answer.json["status"]) == (200, "processing")
    assert door.store.cancel_requested(claimed)
    assert door.delete(f"{TASKS}/{task}").status == 200
    door.store.end_cancelled(claimed)
    assert door.view(task)["error"] == "cancelled"


def test_what_is_over_cannot_be_cancelled(door):
    task = door.submit()
    door.complete(door.claim())
    answer = door.delete(f"{TASKS}/{task}")
    assert answer.status == 409
    assert task in answer.detail


def test_a_cancelled_batch_loses_its_waiting_files(door):
    batch = door.submit_batch({"a.wav": "a", "b.wav": "b"})
    view = door.delete(f"{TASKS}/{batch}").json
    assert (view["status"], view["processed_files"]) == ("failed", 0)
    assert view["errors"] == [{"filename": name, "error": "cancelled"} for name in ("a.wav", "b.wav")]


# Retrying


def test_a_failed_task_is_put_back_as_it_was(door):
    task = door.submit(seed=7)
    claimed = door.claim()
    door.store.fail(claimed, "why")
    answer = door.post(f"{TASKS}/{task}/retry")
    assert answer.status == 200
    assert (answer.json["task_id"], answer.json["status"], answer.json["seed"]) == (task, "pending", 7)
    assert answer.json["attempt"] == 0
    assert {"error", "process_time", "finished_at", "started_at"}.isdisjoint(answer.json)
    again = door.claim()
    assert (again.file_name, again.attempts, again.seed) == (claimed.file_name, 0, 7)


def test_a_cancelled_task_can_be_retried(door):
    task = door.submit()
    door.delete(f"{TASKS}/{task}")
    assert door.post(f"{TASKS}/{task}/retry").json["queue_position"] == 0
    door.complete(door.claim())
    assert door.view(task)["status"] == "completed"


def test_a_batch_is_retried_for_its_failed_files_only(door):
    batch = door.submit_batch({"a.wav": "a", "b.wav": "b"})
    door.complete(door.claim())
    door.store.fail(door.claim(), "why")
    view = door.view(batch)
    assert (view["status"], view["processed_files"]) == ("completed", 1)
    assert view["errors"] == [{"filename": "b.wav", "error": "why"}]
    view = door.post(f"{TASKS}/{batch}/retry").json
    assert (view["status"], view["processed_files"]) == ("pending", 1)
    assert "errors" not in view
    assert door.claim().file_name == "b.wav"
    assert door.store.claim() is None


def test_a_batch_whose_names_another_one_was_promised_meanwhile_waits_with_its_retry(door):
    speeches = {"a.wav": "a", "b.wav": "b"}
    first = door.submit_batch(speeches)
    door.complete(door.claim())
    door.delete(f"{TASKS}/{first}")
    second = door.submit_batch({"b.wav": "other"})
    answer = door.post(f"{TASKS}/{first}/retry")
    assert (answer.status, answer.detail) == (
        409,
        "another unfinished batch will write b.wav in the same directory; wait for it",
    )
    door.delete(f"{TASKS}/{second}")
    assert door.post(f"{TASKS}/{first}/retry").status == 200


def test_a_batch_that_may_overwrite_is_retried_whatever_others_will_write(door):
    first = door.submit_batch({"b.wav": "b"}, overwrite=True)
    door.delete(f"{TASKS}/{first}")
    door.submit_batch({"b.wav": "other"})
    assert door.post(f"{TASKS}/{first}/retry").status == 200


def test_only_what_failed_can_be_retried(door):
    task = door.submit()
    assert door.post(f"{TASKS}/{task}/retry").status == 409
    claimed = door.claim()
    assert door.post(f"{TASKS}/{task}/retry").status == 409
    door.complete(claimed)
    answer = door.post(f"{TASKS}/{task}/retry")
    assert answer.status == 409
    assert task in answer.detail
