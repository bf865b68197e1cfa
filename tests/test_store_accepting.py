"""New tasks in the ledger: numbers, idempotency, the queue's limit, promised names, dropped files."""

from __future__ import annotations

import sqlite3

import pytest

from daemon.errors import BadRequest, QueueFull
from daemon.tasks import State
from tests.live import new_task


def number(receipt):
    return int(receipt.task_id.rsplit("_", 1)[1])


def submit(store, *tasks, limit=None):
    return store.submit(tasks, limit)


def finish(store, claimed=None):
    claimed = claimed or store.claim()
    store.complete(claimed, 1.0)
    return claimed


def test_tasks_and_batches_are_counted_together_from_0(store):
    receipts = submit(store, new_task(), new_task(speeches={"a.wav": "A", "b.wav": "B"}), new_task())
    assert [number(receipt) for receipt in receipts] == [0, 1, 2]
    assert [receipt.task_id.split("_")[0] for receipt in receipts] == ["task", "batch", "task"]
    assert receipts[1].answer() == {"task_id": receipts[1].task_id, "status": "pending", "total_files": 2}
    assert receipts[0].answer() == {"task_id": receipts[0].task_id, "status": "pending"}
    assert store.accepted() == 3


def test_a_refused_request_does_not_count(store):
    submit(store, new_task())
    with pytest.raises(QueueFull, match="1 tasks are waiting"):
        submit(store, new_task(), limit=1)
    assert number(submit(store, new_task())[0]) == 1


def test_a_refused_object_takes_its_whole_array_with_it(store):
    batch = {"a.wav": "A"}
    submit(store, new_task(speeches=batch))
    with pytest.raises(BadRequest, match=r"a\.wav") as refused:
        submit(store, new_task(index=0), new_task(speeches=batch, index=1))
    assert refused.value.index == 1
    assert number(submit(store, new_task())[0]) == 1


def test_a_replayed_key_does_not_count_and_names_the_first_task(store):
    [first] = submit(store, new_task(idempotency_key="k", body_hash="h"))
    assert submit(store, new_task(idempotency_key="k", body_hash="h")) == [first]
    assert store.replayed("k", "h") == first
    assert number(submit(store, new_task())[0]) == 1


def test_a_replayed_batch_answers_its_number_of_files(store):
    task = new_task(speeches={"a.wav": "A", "b.wav": "B"}, idempotency_key="k", body_hash="h")
    [first] = submit(store, task)
    assert submit(store, task) == [first]
    assert first.total_files == 2


def test_a_key_used_for_another_body_is_refused(store):
    submit(store, new_task(idempotency_key="k", body_hash="h"))
    with pytest.raises(BadRequest, match="'k' was used for another request"):
        submit(store, new_task(idempotency_key="k", body_hash="other"))
    with pytest.raises(BadRequest, match="'k'"):
        store.replayed("k", "other")


def test_a_full_queue_still_answers_a_replay(store):
    task = new_task(idempotency_key="k", body_hash="h")
    [first] = submit(store, task, limit=1)
    assert submit(store, task, limit=1) == [first]
    assert not store.room(1)
    assert store.room(2)


def test_only_waiting_tasks_fill_the_queue(store):
    submit(store, new_task(), limit=1)
    finish(store)
    submit(store, new_task(), limit=1)


def test_numbers_are_not_used_again_when_rows_are_deleted(store, ledger_file):
    submit(store, new_task(), new_task())
    with sqlite3.connect(ledger_file) as connection:
        for table in ("texts", "speeches", "tasks"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()
    assert number(submit(store, new_task())[0]) == 2


@pytest.mark.parametrize(
    ("second", "refused"),
    [
        ({}, True),
        ({"overwrite": True}, False),
        ({"directory": "/elsewhere"}, False),
        ({"speeches": {"b.wav": "B"}}, False),
    ],
)
def test_a_name_promised_to_an_unfinished_batch_is_taken(store, second, refused):
    submit(store, new_task(speeches={"a.wav": "A"}))
    again = new_task(**{"speeches": {"a.wav": "A"}} | second)
    if refused:
        with pytest.raises(BadRequest, match=r"another unfinished batch will write a\.wav"):
            submit(store, again)
    else:
        submit(store, again)


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_a_batch_that_is_over_promises_nothing(store, end):
    [receipt] = submit(store, new_task(speeches={"a.wav": "A"}))
    if end == "cancelled":
        store.cancel(receipt.task_id)
    else:
        finish(store)
    submit(store, new_task(speeches={"a.wav": "A"}))


def test_a_file_that_is_done_is_no_promise_of_its_batch(store):
    submit(store, new_task(speeches={"a.wav": "A", "b.wav": "B"}))
    finish(store)
    submit(store, new_task(speeches={"a.wav": "A"}))
    with pytest.raises(BadRequest, match=r"b\.wav"):
        submit(store, new_task(speeches={"b.wav": "B"}))


# Dropped files


def test_a_dropped_file_is_ended_when_all_its_tasks_are(store):
    receipts = store.submit_drop("uid", "x.json", [new_task(), new_task()])
    assert store.knows_drop("uid")
    assert not store.knows_drop("other")
    finish(store)
    assert store.ended_drops() == []
    finish(store)
    [drop] = store.ended_drops()
    assert (drop.uid, drop.name, drop.kept_as) == ("uid", "x.json", None)
    assert [task.task_id for task in store.tasks_of_drop("uid")] == [receipt.task_id for receipt in receipts]


def test_an_archived_drop_is_not_ended_again(store):
    store.submit_drop("uid", "x.json", [new_task()])
    finish(store)
    store.keep_drop_as("uid", "x-2.json")
    assert store.ended_drops()[0].kept_as == "x-2.json"
    store.archive_drop("uid")
    assert store.ended_drops() == []


def test_a_dropped_file_that_replays_a_key_stands_for_the_first_task(store):
    task = new_task(idempotency_key="k", body_hash="h")
    [first] = submit(store, task)
    assert store.submit_drop("uid", "x.json", [task]) == [first]
    assert [found.task_id for found in store.tasks_of_drop("uid")] == [first.task_id]
    finish(store)
    assert [drop.uid for drop in store.ended_drops()] == ["uid"]


def test_a_refused_drop_leaves_nothing_behind(store):
    submit(store, new_task(speeches={"a.wav": "A"}))
    with pytest.raises(BadRequest):
        store.submit_drop("uid", "x.json", [new_task(), new_task(speeches={"a.wav": "A"})])
    assert not store.knows_drop("uid")
    assert store.accepted() == 1


def test_a_drop_that_waits_for_a_retried_task_waits_for_it_again(store):
    [receipt] = store.submit_drop("uid", "x.json", [new_task()])
    store.fail(store.claim(), "no voice")
    assert len(store.ended_drops()) == 1
    store.retry(receipt.task_id)
    assert store.ended_drops() == []
    assert store.task(receipt.task_id).state is State.PENDING


def test_what_was_forgotten_still_counts_as_accepted(store):
    submit(store, new_task(), new_task())
    finish(store)
    finish(store)
    assert store.prune(before=2**40) == 2
    assert store.accepted() == 2
    [receipt] = submit(store, new_task())
    assert receipt.task_id.endswith("_2")
    assert store.accepted() == 3
