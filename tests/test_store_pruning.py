"""What the ledger forgets, and what it never does."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from daemon.errors import LedgerDamaged, NotFound
from daemon.store import ClaimLost, Store, count_forgettable
from tests.live import new_task
from tests.workshop import rows

LATER = time.time() + 3600
TABLES = ("tasks", "speeches", "texts", "drops", "drop_tasks")


def add(store, *tasks):
    return [receipt.task_id for receipt in store.submit(tasks or [new_task()], None)]


def finish(store):
    while claimed := store.claim():
        store.complete(claimed, 1.0)


def prune(store, before=None):
    """All bites; how many tasks went in each."""
    return list(iter(lambda: store.prune(LATER if before is None else before), 0))


def sizes(file):
    """How many rows each table has, once nothing points nowhere."""
    assert rows(file, "PRAGMA foreign_key_check") == []
    return {table: rows(file, f"SELECT COUNT(*) FROM {table}")[0][0] for table in TABLES}


def test_a_task_is_forgotten_with_all_that_belongs_to_it(store, ledger_file):
    [kept] = add(store)
    claimed = store.claim()
    ended = add(store, new_task(), new_task(speeches={"a.wav": "A", "b.wav": "B"}))
    finish(store)
    assert prune(store) == [2]
    for task_id in ended:
        with pytest.raises(NotFound):
            store.task(task_id)
    assert store.task(kept)
    assert sizes(ledger_file) == {"tasks": 1, "speeches": 1, "texts": 1, "drops": 0, "drop_tasks": 0}
    store.complete(claimed, 1.0)
    assert prune(store) == [1]
    assert prune(store) == [], "a second run finds nothing"


def test_what_ended_after_that_moment_is_kept(store):
    [old] = add(store)
    finish(store)
    between = store.task(old).finished_at + 0.0005
    [young] = add(store)
    while time.time() <= between:
        pass
    finish(store)
    assert prune(store, between) == [1]
    assert [task.task_id for task in store.tasks(None, 9, None)] == [young]


def test_a_batch_with_one_unfinished_file_stays_whole(store, ledger_file):
    [batch] = add(store, new_task(speeches={"a.wav": "A", "b.wav": "B", "c.wav": "C"}))
    store.complete(store.claim(), 1.0)
    store.fail(store.claim(), "no")
    assert prune(store) == []
    claimed = store.claim()
    store.cancel(batch)
    assert prune(store) == [], "it is still being spoken"
    store.end_cancelled(claimed)
    assert prune(store) == [1]
    assert sizes(ledger_file)["texts"] == 0


def test_a_retried_task_is_unfinished_again(store):
    [task_id] = add(store)
    store.fail(store.claim(), "no")
    store.retry(task_id)
    assert prune(store) == []
    assert store.claim().text == "A short text."


def test_an_idempotency_key_is_free_again_once_its_task_is_forgotten(store):
    keyed = {"idempotency_key": "k", "body_hash": "1"}
    [first] = add(store, new_task(**keyed))
    assert add(store, new_task(**keyed)) == [first]
    finish(store)
    prune(store)
    assert store.replayed("k", "2") is None
    [second] = add(store, new_task(**keyed | {"body_hash": "2"}))
    assert second != first
    assert store.claim().task_id == second


def test_numbers_go_on_counting(store):
    ids = add(store, new_task(), new_task())
    finish(store)
    prune(store)
    assert [int(task_id.rpartition("_")[2]) for task_id in ids + add(store)] == [0, 1, 2]


def test_a_claim_of_a_forgotten_speech_cannot_end_another(store):
    add(store)
    late = store.claim()
    store.complete(late, 1.0)
    prune(store)
    [task_id] = add(store)
    claimed = store.claim()
    assert (claimed.speech, claimed.token) == (late.speech, late.token), "the ledger gives speeches' numbers anew"
    with pytest.raises(ClaimLost):
        store.fail(late, "too late")
    assert store.task(task_id).error is None


# Dropped files


def test_a_task_stays_as_long_as_its_dropped_file_waits_for_its_note(store, ledger_file):
    store.submit_drop("uid", "x.json", [new_task(), new_task()])
    finish(store)
    assert prune(store) == []
    store.keep_drop_as("uid", "done/x.json")
    assert prune(store) == []
    assert len(store.tasks_of_drop("uid")) == 2
    store.archive_drop("uid")
    assert prune(store) == [2]
    assert sizes(ledger_file) == dict.fromkeys(TABLES, 0) | {"drops": 1}
    assert store.knows_drop("uid"), "it may lie on a disk that is away"


def test_of_two_files_that_stand_for_one_task_both_must_be_put_away(store, ledger_file):
    keyed = new_task(idempotency_key="k", body_hash="1")
    for uid in ("one", "two"):
        store.submit_drop(uid, "x.json", [keyed])
    finish(store)
    store.archive_drop("one")
    assert prune(store) == []
    store.archive_drop("two")
    assert prune(store) == [1]
    assert sizes(ledger_file) == dict.fromkeys(TABLES, 0) | {"drops": 2}


def test_a_dropped_file_is_known_even_when_its_tasks_are_forgotten(store, ledger_file):
    [_, second] = [receipt.task_id for receipt in store.submit_drop("uid", "x.json", [new_task(), new_task()])]
    store.complete(store.claim(), 1.0)
    store.fail(store.claim(), "no")
    store.archive_drop("uid")
    store.retry(second)
    assert prune(store) == [1]
    assert [task.task_id for task in store.tasks_of_drop("uid")] == [second]
    finish(store)
    assert prune(store) == [1]
    assert sizes(ledger_file) == dict.fromkeys(TABLES, 0) | {"drops": 1}
    assert store.knows_drop("uid")


# How much at once


def test_many_tasks_are_forgotten_in_bites(store):
    add(store, *(new_task() for _ in range(450)))
    rows(store_file(store), "UPDATE tasks SET state = 'completed', finished_at = 1")
    assert prune(store) == [200, 200, 50]


def test_a_bite_holds_few_files_but_a_large_batch_goes_alone(store):
    for count in (1, 700, 700, 1500, 1):
        add(store, new_task(speeches={f"{number}.wav": "A" for number in range(count)}, overwrite=True))
    rows(store_file(store), "UPDATE tasks SET state = 'completed', finished_at = 1")
    assert prune(store) == [2, 1, 1, 1]


def store_file(store):
    return store._connections._file


# Counting without forgetting


def test_counting_changes_nothing_while_the_ledger_is_in_use(store, ledger_file):
    add(store, new_task(), new_task())
    store.complete(store.claim(), 1.0)
    before = sizes(ledger_file)
    assert count_forgettable(ledger_file, LATER) == 1
    assert count_forgettable(ledger_file, 0) == 0
    assert sizes(ledger_file) == before


def test_counting_in_a_ledger_at_rest_leaves_no_file_that_another_user_could_not_write_to(store, ledger_file):
    add(store, new_task())
    store.complete(store.claim(), 1.0)
    store.close()
    before = sorted(ledger_file.parent.iterdir())
    assert count_forgettable(ledger_file, LATER) == 1
    assert sorted(ledger_file.parent.iterdir()) == before


def test_counting_makes_no_ledger(tmp_path):
    with pytest.raises(LedgerDamaged, match="there is no ledger"):
        count_forgettable(tmp_path / "indexttsd.db", LATER)
    assert list(tmp_path.iterdir()) == []


# Whatever lies beside it


def waiting(store):
    return add(store, new_task(priority=0))


def in_work(store):
    ids = add(store, new_task(priority=9))
    store.claim()
    return ids


def half_done(store):
    ids = add(store, new_task(priority=9, speeches={"a.wav": "A", "b.wav": "B"}, overwrite=True))
    store.complete(store.claim(), 1.0)
    store.claim()
    return ids


def being_cancelled(store):
    [task_id] = in_work(store)
    store.cancel(task_id)
    return [task_id]


def retried(store):
    [task_id] = cancelled(store)
    store.retry(task_id)
    return [task_id]


def in_a_waiting_drop(store):
    drop = [new_task(priority=9), new_task(priority=9)]
    receipts = store.submit_drop(str(store.accepted()), "x.json", drop)
    finish_urgent(store)
    return [receipt.task_id for receipt in receipts]


def completed(store):
    ids = add(store, new_task(priority=9))
    store.complete(store.claim(), 1.0)
    return ids


def failed(store):
    ids = add(store, new_task(priority=9))
    store.fail(store.claim(), "no")
    return ids


def cancelled(store):
    [task_id] = add(store, new_task(priority=0))
    store.cancel(task_id)
    return [task_id]


def in_a_drop_put_away(store):
    uid = str(store.accepted())
    ids = in_a_waiting_drop(store)
    store.archive_drop(uid)
    return ids


def finish_urgent(store):
    while store.waits(above=0):
        store.complete(store.claim(), 1.0)


KEPT = (waiting, in_work, half_done, being_cancelled, retried, in_a_waiting_drop)
FORGOTTEN = (completed, failed, cancelled, in_a_drop_put_away)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(fates=some.lists(some.sampled_from(KEPT + FORGOTTEN), max_size=12))
def test_whatever_lies_beside_it_what_is_not_over_is_kept_and_what_is_goes(empty_ledger, fates):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(shutil.copy(empty_ledger, folder))
        store = Store(file)
        kept = [task_id for fate in fates for task_id in fate(store) if fate in KEPT]
        prune(store)
        assert [task.task_id for task in store.tasks(None, 100, None)] == kept[::-1]
        found = sizes(file)
        assert found["speeches"] == found["texts"] == len(kept) + fates.count(half_done)
        store.close()
