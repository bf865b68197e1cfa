"""What a speech keeps when it is given back, and what a worker changes whose claim went to another: nothing."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from daemon.errors import EngineUnavailable
from daemon.tasks import BATCH_MODE, State
from tests.live import PATIENCE, until
from tests.workshop import make_host, rows

CHARGES = "SELECT state, attempts, in_company FROM speeches ORDER BY id"


@pytest.fixture
def stepping():
    """Lets a worker take one step in a thread; what it raised is in the list that comes back."""
    threads = []

    def start(shop):
        raised = []

        def step():
            try:
                shop.worker.step()
            except EngineUnavailable as error:
                raised.append(error)

        threads.append(threading.Thread(target=step))
        threads[-1].start()
        return raised, lambda: threads[-1].join(PATIENCE)

    yield start
    for thread in threads:
        thread.join(PATIENCE)


@pytest.mark.parametrize("mode", ["普通推理", BATCH_MODE], ids=["alone", "in company"])
def test_who_is_in_the_engine_when_the_daemon_ends_it_is_not_charged(
    make_workshop, tmp_path, ledger_file, stepping, mode
):
    shop = make_workshop(make_host(tmp_path, hang_on="HANG", max_batch=8))
    shop.add("HANG.", "One.", "Two.", infer_mode=mode)
    raised, wait = stepping(shop)
    spoken = "SELECT 1 FROM speeches WHERE segments_total AND (attempts OR in_company)"
    until(lambda: rows(ledger_file, spoken), "the call")
    shop.host.cut_off()
    wait()
    assert [type(error) for error in raised] == [EngineUnavailable]
    assert rows(ledger_file, CHARGES) == [("pending", 0, 0)] * 3


def test_a_text_that_is_being_cut_when_the_daemon_ends_the_engine_is_not_charged(
    make_workshop, tmp_path, ledger_file, stepping
):
    shop = make_workshop(make_host(tmp_path))
    shop.work_off()  # all recordings are listened to
    shop.add("One.")
    os.kill(shop.host.pid, signal.SIGSTOP)
    raised, wait = stepping(shop)
    until(lambda: rows(ledger_file, CHARGES) == [("processing", 1, 0)], "the call")
    shop.host.cut_off()
    wait()
    assert [type(error) for error in raised] == [EngineUnavailable]
    assert rows(ledger_file, CHARGES) == [("pending", 0, 0)]


def test_a_death_before_the_stop_ends_the_engine_still_counts(make_workshop, tmp_path, ledger_file):
    shop = make_workshop(make_host(tmp_path, crash_on="CRASH"))
    shop.add("CRASH.")
    shop.host.load()
    shop.host.abandon_load()
    assert shop.worker.step()
    assert rows(ledger_file, CHARGES) == [("pending", 1, 0)]


def test_a_suspect_that_a_stop_gives_back_keeps_what_is_known_of_it(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, crash_on="CRASH"), max_attempts=2)
    [task_id] = shop.add("CRASH.")
    shop.worker.step()
    shop.store.give_back(shop.store.claim())
    assert shop.store.claim().last_error == "the engine's process was killed by SIGKILL"
    shop.store.recover()
    shop.work_off()
    assert shop.view(task_id)["error"] == "given up after 2 attempts: the engine's process was killed by SIGKILL"


def test_a_finished_segment_makes_forgotten_what_was_known_of_a_suspect(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, crash_on="CRASH"))
    [task_id] = shop.add("CRASH.")
    shop.worker.step()
    make_workshop(make_host(tmp_path)).work_off()
    assert (shop.store.task(task_id).state, shop.view(task_id).get("error")) == (State.COMPLETED, None)


def test_a_worker_whose_claim_went_to_another_finishes_nothing(make_workshop, tmp_path, ledger_file, stepping, caplog):
    """As if a first daemon still spoke while a second has made the file: what it says late changes nothing."""
    late = make_workshop(make_host(tmp_path, delay_seconds=0.5))
    [task_id] = late.add("One. Two.")
    _, wait = stepping(late)
    until(lambda: rows(ledger_file, CHARGES) == [("processing", 1, 0)], "the call")
    late.store.recover()
    make_workshop(make_host(tmp_path)).work_off()
    everything = "SELECT * FROM speeches JOIN tasks ON tasks.id = speeches.task"
    made = rows(ledger_file, everything), (late.out / f"{task_id}.wav").stat(), late.view(task_id)
    assert made[2]["status"] == "completed"
    wait()
    assert (rows(ledger_file, everything), (late.out / f"{task_id}.wav").stat(), late.view(task_id)) == made
    assert late.files() == [f"{task_id}.wav"]
    assert "is no longer in this worker's hands" in caplog.text


def test_a_worker_whose_claim_another_holds_changes_nothing(make_workshop, tmp_path, ledger_file, stepping):
    late = make_workshop(make_host(tmp_path, delay_seconds=0.5))
    late.add("One. Two.")
    _, wait = stepping(late)
    until(lambda: rows(ledger_file, CHARGES) == [("processing", 1, 0)], "the call")
    late.store.recover()
    late.store.claim()
    everything = "SELECT * FROM speeches JOIN tasks ON tasks.id = speeches.task"
    held = rows(ledger_file, everything)
    wait()
    assert rows(ledger_file, everything) == held
    assert late.files() == []
