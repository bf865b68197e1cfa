"""How tasks end, are cancelled, retried and shown by the ledger."""

from __future__ import annotations

import pytest

from daemon.errors import Conflict, NotFound
from daemon.store import Gain
from daemon.tasks import State, view
from tests.live import new_task


def add(store, *tasks):
    return [receipt.task_id for receipt in store.submit(tasks or [new_task()], None)]


# Ends


def test_a_batch_with_one_good_file_is_completed_and_names_the_others(store):
    [task_id] = add(store, new_task(speeches={"a.wav": "A", "b.wav": "B"}))
    store.fail(store.claim(), "no voice")
    assert store.task(task_id).state is State.PROCESSING
    store.complete(store.claim(), 1.5)
    shown = view(store.task(task_id))
    assert (shown["status"], shown["processed_files"], shown["total_files"]) == ("completed", 1, 2)
    assert shown["errors"] == [{"filename": "a.wav", "error": "no voice"}]
    assert "error" not in shown


def test_a_batch_without_a_good_file_is_failed(store):
    [task_id] = add(store, new_task(speeches={"a.wav": "A", "b.wav": "B"}))
    store.fail(store.claim(), "no voice")
    store.fail(store.claim(), "no breath")
    task = store.task(task_id)
    assert (task.state, task.error) == (State.FAILED, "none of 2 files could be made; the first: no voice")


def test_engine_time_and_audio_are_summed_over_segments_and_files(store):
    [task_id] = add(store, new_task(speeches={"a.wav": "A", "b.wav": "B"}))
    for claim in (store.claim(), store.claim()):
        store.planned(claim, 2, 0, survived=True)
        store.advance(Gain(claim, 1, 1.0, 0.254))
        store.advance(Gain(claim, 1, 1.0, 0.25))
        store.complete(claim, 2.5)
    shown = view(store.task(task_id))
    assert (shown["process_time"], shown["audio_seconds"]) == (1.01, 5.0)
    assert (shown["segments_done"], shown["segments_total"], shown["progress"]) == (4, 4, 1.0)


def test_a_failed_speech_keeps_its_engine_time(store):
    [task_id] = add(store)
    claim = store.claim()
    assert "process_time" not in view(store.task(task_id))
    store.advance(Gain(claim, 0, 0.0, 1.239))
    store.fail(claim, "no")
    assert view(store.task(task_id))["process_time"] == 1.24


def test_a_task_that_was_never_spoken_took_no_time(store):
    [task_id] = add(store)
    assert view(store.cancel(task_id))["process_time"] == 0.0


# Cancelling


def test_a_waiting_task_is_cancelled_at_once(store):
    [task_id] = add(store)
    shown = view(store.cancel(task_id))
    assert (shown["status"], shown["error"]) == ("failed", "cancelled")
    assert store.claim() is None


def test_a_task_in_work_is_asked_to_end(store):
    [task_id] = add(store, new_task(speeches={"a.wav": "A", "b.wav": "B"}))
    claim = store.claim()
    assert not store.cancel_requested(claim)
    assert store.cancel(task_id).state is State.PROCESSING
    assert store.cancel_requested(claim)
    assert store.claim() is None, "the file that had not begun is cancelled"
    store.end_cancelled(claim)
    assert store.task(task_id).state is State.CANCELLED


@pytest.mark.parametrize("task_id", ["task_1_0", "task_1_99", "batch_1_0", "nonsense", "", "task_1_999999999999999"])
def test_an_unknown_task_is_not_found(store, task_id):
    add(store)
    for method in (store.task, store.cancel, store.retry):
        with pytest.raises(NotFound, match=f"^Task with ID '{task_id}' not found$"):
            method(task_id)


# Retrying


def test_a_retried_task_keeps_its_id_and_seed_and_forgets_its_attempts(store):
    [task_id] = add(store, new_task(seed=11))
    claim = store.claim()
    store.enter(claim)
    store.advance(Gain(claim, 0, 0.0, 2.0))
    store.enter(claim)
    store.fail(claim, "no")
    shown = view(store.retry(task_id))
    assert (shown["task_id"], shown["seed"], shown["status"], shown["attempt"]) == (task_id, 11, "pending", 0)
    assert not {"error", "process_time", "started_at", "finished_at"} & set(shown)
    again = store.claim()
    assert (again.attempts, again.seed, again.file_name, again.last_error) == (0, 11, claim.file_name, None)


def test_a_retried_batch_speaks_only_its_failed_files(store):
    [task_id] = add(store, new_task(speeches={"a.wav": "A", "b.wav": "B", "c.wav": "C"}))
    store.fail(store.claim(), "no")
    store.complete(store.claim(), 1.0)
    store.cancel(task_id)
    assert view(store.task(task_id))["error"] == "cancelled"
    assert view(store.retry(task_id))["processed_files"] == 1
    claimed = list(iter(store.claim, None))
    assert [claim.file_name for claim in claimed] == ["a.wav", "c.wav"]
    for claim in claimed:
        store.complete(claim, 1.0)
    assert store.task(task_id).completed_files == 3
    with pytest.raises(Conflict, match="only what failed or was cancelled"):
        store.retry(task_id)


def test_a_retry_takes_back_the_wish_to_cancel(store):
    [task_id] = add(store)
    store.cancel(task_id)
    store.retry(task_id)
    assert not store.cancel_requested(store.claim())


# Questions


def test_the_place_in_the_queue_follows_the_order_of_claims(store):
    ids = add(store, new_task(priority=5), new_task(priority=0), new_task(priority=9), new_task(priority=5))
    assert [view(store.task(task_id))["queue_position"] for task_id in ids] == [1, 3, 0, 2]
    store.claim()
    assert "queue_position" not in view(store.task(ids[2]))
    assert view(store.task(ids[0]))["queue_position"] == 0


def test_pages_run_from_the_newest_to_the_oldest(store):
    ids = add(store, *(new_task() for _ in range(5)))
    store.cancel(ids[3])
    assert [task.task_id for task in store.tasks(None, 2, None)] == [ids[4], ids[3]]
    assert [task.task_id for task in store.tasks(None, 9, ids[3])] == [ids[2], ids[1], ids[0]]
    assert [task.task_id for task in store.tasks((State.FAILED, State.CANCELLED), 9, None)] == [ids[3]]


def test_only_a_page_is_content_with_the_first_100_errors_of_each_batch(store):
    names = [f"{index:03}.wav" for index in range(102, -1, -1)]
    batches = [new_task(speeches=dict.fromkeys(names, "A"), directory=f"/{folder}") for folder in "ab"]
    ids = [receipt.task_id for receipt in store.submit_drop("uid", "two.json", batches)]
    store.fail(store.claim(), "no voice")
    ended = [store.cancel(task_id).failures for task_id in ids]
    assert [[name for name, _ in failures] for failures in ended] == [names, names]
    assert [store.task(task_id).failures for task_id in ids] == ended
    assert [task.failures for task in store.tasks_of_drop("uid")] == ended
    assert [task.failures for task in store.tasks(None, 9, None)] == [failures[:100] for failures in reversed(ended)]


def test_the_counts_use_the_four_words_of_the_document(store):
    [first, _] = add(store, new_task(), new_task(), *())
    assert store.stats()[1] is not None
    store.cancel(first)
    store.claim()
    assert store.stats() == ({"pending": 0, "processing": 1, "completed": 0, "failed": 1}, None)
