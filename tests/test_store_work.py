"""The ledger under the worker's hands: who gets what, what may follow what, and what a restart finds."""

from __future__ import annotations

import contextlib
import sqlite3
import threading

import pytest
import sqlalchemy
from sqlalchemy import event

from daemon.errors import Conflict
from daemon.store import ClaimLost, Gain
from daemon.tasks import BATCH_MODE, OVER, TRANSITIONS, State, view
from tests.live import new_task
from tests.workshop import rows


def add(store, *tasks):
    return [receipt.task_id for receipt in store.submit(tasks or [new_task()], None)]


# Claims


def test_the_highest_priority_is_claimed_first_then_the_oldest_then_the_files_in_order(store):
    add(store, new_task("low", priority=0), new_task("first"), new_task(speeches={"b.wav": "second", "a.wav": "third"}))
    add(store, new_task("fourth"), new_task("high", priority=9))
    claimed = list(iter(store.claim, None))
    assert [claim.text for claim in claimed] == ["high", "first", "second", "third", "fourth", "low"]


def test_a_claim_knows_all_that_the_worker_needs(store):
    options = {"speed": 1.5, "words": ["ä", None]}
    [task_id] = add(store, new_task("Grüße 你好", options=options, seed=2**32 - 1, format="ogg", infer_mode="批次推理"))
    claim = store.claim()
    assert (claim.task_id, claim.file_name) == (task_id, f"{task_id}.ogg")
    assert (claim.text, claim.options, claim.seed, claim.format) == ("Grüße 你好", options, 2**32 - 1, "ogg")
    assert (claim.attempts, claim.last_error, claim.digest) == (0, None, None)


def test_each_speech_is_claimed_once_by_many_threads(store):
    add(store, *(new_task(speeches={f"{k}.wav": "text" for k in range(10)}, directory=f"/{n}") for n in range(15)))
    claimed: list[int] = []

    def work_off():
        for claim in iter(store.claim, None):
            claimed.append(claim.speech)
            store.complete(claim, 1.0)

    threads = [threading.Thread(target=work_off) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(1, 151))
    assert store.stats()[0] == {"pending": 0, "processing": 0, "completed": 15, "failed": 0}


@contextlib.contextmanager
def statements():
    """Every SQL statement that is executed meanwhile, with its parameters."""
    seen: list[tuple[str, tuple[object, ...]]] = []
    listen = (sqlalchemy.Engine, "before_cursor_execute", lambda *call: seen.append((call[2], call[3])))
    event.listen(*listen)
    try:
        yield seen
    finally:
        event.remove(*listen)


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda store: store.claim(), "speeches_waiting"),
        (lambda store: store.claim_mate(5), "speeches_joinable"),
        (lambda store: store.waits(above=5), "speeches_waiting"),
        (lambda store: store.recover(), "speeches_in_work"),
        (lambda store: store.room(10), "tasks_"),
    ],
    ids=["claim", "mate", "waits", "recover", "room"],
)
def test_what_waits_is_found_by_an_index(store, ledger_file, ask, index):
    """However many tasks are over: the cost is that of what waits."""
    with statements() as seen:
        ask(store)
    sql, parameters = next(one for one in seen if not one[0].startswith("BEGIN"))
    with sqlite3.connect(ledger_file) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    connection.close()
    assert any(index in step for step in steps), steps
    assert not [step for step in steps if "TEMP B-TREE" in step or (step.startswith("SCAN") and "INDEX" not in step)]


# Company


def test_a_mate_is_the_next_of_its_priority_that_may_share_calls(store):
    batched = {"infer_mode": BATCH_MODE}
    add(store, new_task("low", priority=0, **batched), new_task("first", **batched), new_task("plain"))
    add(store, new_task(speeches={"b.wav": "second", "a.wav": "third"}, **batched), new_task("high", priority=9))
    mates = list(iter(lambda: store.claim_mate(5), None))
    assert [claim.text for claim in mates] == ["first", "second", "third"]
    assert {task.state for task in store.tasks(None, 9, None)} == {State.PENDING, State.PROCESSING}
    assert [claim.text for claim in iter(store.claim, None)] == ["high", "plain", "low"]


def test_whether_somebody_more_urgent_waits(store):
    add(store, new_task("low", priority=3), new_task("high", priority=4))
    assert [store.waits(above=priority) for priority in (2, 3, 4)] == [True, True, False]
    store.claim()
    assert (store.waits(above=3), store.waits()) == (False, True), "that one is in work"
    store.claim()
    assert not store.waits()


def test_who_enters_the_engine_in_company_is_marked_and_not_charged_until_it_comes_back(store, ledger_file):
    add(store, *[new_task(infer_mode=BATCH_MODE)] * 3)
    first, second, third = iter(store.claim, None)
    marks = "SELECT attempts, in_company FROM speeches"
    store.enter(first, second)
    store.enter(third)
    assert rows(ledger_file, marks) == [(0, 1), (0, 1), (1, 0)]
    store.advance(Gain(first, 1, 1.0, 1.0), Gain(third, 0, 0.0, 1.0))
    assert rows(ledger_file, marks) == [(0, 0), (0, 1), (0, 0)]
    store.give_back(second, "the engine died")
    assert store.claim_mate(5) is None, "not into another's call"
    again = store.claim()
    assert (again.speech, again.suspect, again.last_error) == (second.speech, True, "the engine died")
    store.fail(again, "no")
    store.retry(again.task_id)
    assert not store.claim().suspect, "a retry begins anew"


def test_all_enter_a_call_or_none(store, ledger_file):
    add(store, new_task(), new_task())
    first, lost = iter(store.claim, None)
    store.complete(lost, 1.0)
    with pytest.raises(ClaimLost):
        store.enter(first, lost)
    assert rows(ledger_file, "SELECT attempts, in_company FROM speeches") == [(0, 0)] * 2


# What may follow what

OPERATIONS = {
    "claim": (lambda store, claim: store.claim(), {"pending": "processing"}),
    "claim_mate": (lambda store, claim: store.claim_mate(5), {"pending": "processing"}),
    "complete": (lambda store, claim: store.complete(claim, 1.0), {"processing": "completed"}),
    "fail": (lambda store, claim: store.fail(claim, "error"), {"processing": "failed"}),
    "end_cancelled": (lambda store, claim: store.end_cancelled(claim), {"processing": "cancelled"}),
    "give_back": (lambda store, claim: store.give_back(claim), {"processing": "pending"}),
    "recover": (lambda store, claim: store.recover(), {"processing": "pending"}),
    "cancel": (lambda store, claim: store.cancel(claim.task_id), {"pending": "cancelled"}),
    "retry": (lambda store, claim: store.retry(claim.task_id), {"failed": "pending", "cancelled": "pending"}),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_state_follows_another_only_as_the_table_of_transitions_says(store, ledger_file, operation):
    add(store, new_task(infer_mode=BATCH_MODE))
    claim = store.claim()
    act, moves = OPERATIONS[operation]
    for origin in map(str, State):
        finished = "1.0" if State(origin) in OVER else "NULL"
        rows(ledger_file, f"UPDATE speeches SET state = '{origin}'")
        rows(ledger_file, f"UPDATE tasks SET state = '{origin}', finished_at = {finished}, cancel_requested = 0")
        with contextlib.suppress(ClaimLost, Conflict):
            act(store, claim)
        expected = moves.get(origin, origin)
        assert expected == origin or State(expected) in TRANSITIONS[State(origin)]
        found = rows(ledger_file, "SELECT state FROM speeches UNION ALL SELECT state FROM tasks")
        assert found == [(expected,)] * 2, f"from {origin}"


PROGRESS = {
    "enter": lambda store, claim: store.enter(claim),
    "planned": lambda store, claim: store.planned(claim, 3, 0, survived=True),
    "advance": lambda store, claim: store.advance(Gain(claim, 1, 1.0, 1.0)),
    "publishing": lambda store, claim: store.publishing(claim, "digest"),
    "complete": lambda store, claim: store.complete(claim, 1.0),
    "fail": lambda store, claim: store.fail(claim, "error"),
    "give_back": lambda store, claim: store.give_back(claim, "error", attempts=1),
    "end_cancelled": lambda store, claim: store.end_cancelled(claim),
}


@pytest.mark.parametrize("change", PROGRESS)
def test_nothing_is_written_to_a_speech_that_is_not_in_work(store, ledger_file, change):
    add(store)
    claim = store.claim()
    for state in set(State) - {State.PROCESSING}:
        rows(ledger_file, f"UPDATE speeches SET state = '{state}'")
        before = rows(ledger_file, "SELECT * FROM speeches")
        with pytest.raises(ClaimLost):
            PROGRESS[change](store, claim)
        assert rows(ledger_file, "SELECT * FROM speeches") == before


def test_an_old_claim_cannot_touch_the_new_one(store):
    [task_id] = add(store)
    old = store.claim()
    store.give_back(old)
    new = store.claim()
    with pytest.raises(ClaimLost):
        store.complete(old, 1.0)
    assert store.task(task_id).state is State.PROCESSING
    store.complete(new, 1.0)
    assert store.task(task_id).state is State.COMPLETED


def test_every_change_is_one_transaction(store):
    with statements() as seen:
        [first, second] = add(store, new_task(), new_task())
        claim = store.claim()
        store.enter(claim)
        store.planned(claim, 1, 0, survived=True)
        store.advance(Gain(claim, 1, 1.0, 0.5))
        store.publishing(claim, "digest")
        store.complete(claim, 1.0)
        store.fail(store.claim(), "no")
        store.retry(second)
        store.cancel(second)
        store.recover()
        store.task(first)
    begun = [sql for sql, _ in seen if sql.startswith("BEGIN")]
    assert begun.count("BEGIN IMMEDIATE") == 12
    assert begun.count("BEGIN") == 1


# What a dead daemon left


def test_what_was_in_work_waits_again_with_its_attempts(store):
    [first, second] = add(store, new_task("first"), new_task("second"))
    for claim in (store.claim(), store.claim()):
        store.enter(claim)
    assert [orphan.task_id for orphan in store.orphans()] == [first, second]
    store.recover()
    assert {store.task(task_id).state for task_id in (first, second)} == {State.PENDING}
    again = store.claim()
    assert (again.text, again.attempts) == ("first", 1)
    assert len(store.orphans()) == 1
    store.recover()


def test_what_was_to_be_cancelled_is_not_spoken_after_a_restart(store):
    [task_id] = add(store)
    store.claim()
    store.cancel(task_id)
    store.recover()
    assert store.task(task_id).state is State.CANCELLED
    assert store.claim() is None


def test_a_batch_between_two_files_waits_again(store):
    [task_id] = add(store, new_task(speeches={"a.wav": "A", "b.wav": "B"}))
    store.complete(store.claim(), 1.0)
    assert store.orphans() == []
    store.recover()
    assert store.task(task_id).state is State.PENDING
    assert store.unfinished() == {2}


def test_a_clean_stop_costs_no_attempt_but_a_fault_does(store):
    add(store)
    store.give_back(store.claim())
    claim = store.claim()
    assert claim.attempts == 0
    store.give_back(claim, "the reason", attempts=claim.attempts + 1)
    claim = store.claim()
    assert (claim.attempts, claim.last_error) == (1, "the reason")


def test_giving_back_a_cancelled_speech_ends_it(store):
    [task_id] = add(store)
    claim = store.claim()
    store.cancel(task_id)
    store.give_back(claim, "the engine died")
    assert view(store.task(task_id))["error"] == "cancelled"
