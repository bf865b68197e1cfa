"""Who took the engine down: a crew's neighbours of a poisonous speech are neither charged nor lost."""

from __future__ import annotations

import re
import signal

import pytest

from daemon.errors import EngineDied, EngineUnavailable, SpeechFailed
from daemon.host import HostState
from daemon.tasks import BATCH_MODE, State
from daemon.worker.fate import Unsettled, settle
from tests.live import until
from tests.workshop import VOICES, make_host, rows


def deaths_until_all_is_over(shop):
    """How often the engine died."""
    deaths = 0
    while shop.worker.step():
        deaths += shop.host.state is HostState.STOPPED
    return deaths


GOOD = ("Fine. Very well.", "Good.", "Splendid.")


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_text_that_kills_the_engine_fails_alone_and_its_crew_is_not_charged(make_workshop, tmp_path, max_attempts):
    shop = make_workshop(make_host(tmp_path, max_batch=8, crash_on="CRASH"), max_attempts)
    [poison, *good] = shop.add("CRASH.", *GOOD, infer_mode=BATCH_MODE)
    shop.worker.step()
    assert {shop.store.task(task_id).attempts for task_id in (poison, *good)} == {0}
    assert 1 + deaths_until_all_is_over(shop) == 1 + max_attempts, "once in company, then alone"
    error = f"given up after {max_attempts} attempts: the engine's process was killed by SIGKILL"
    assert shop.view(poison)["error"] == error
    assert [shop.view(task_id)["status"] for task_id in good] == ["completed"] * 3


def test_a_text_that_hangs_the_engine_fails_alone_too(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, timeout=1, max_batch=8, hang_on="HANG"), max_attempts=1)
    first, poison, last = shop.add("One.", "HANG.", "Two.", infer_mode=BATCH_MODE)
    shop.work_off()
    assert shop.view(poison)["error"] == "given up after 1 attempts: the engine did not answer within 1 s"
    assert [shop.view(task_id)["status"] for task_id in (first, last)] == ["completed"] * 2


def test_a_text_that_kills_the_engine_while_it_is_cut_does_not_hold_its_crew_up(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, max_batch=8, split_crash_on="CRASH"))
    first, poison, last = shop.add("One.", "CRASH.", "Two.", infer_mode=BATCH_MODE)
    shop.worker.step()
    assert [shop.view(task_id)["status"] for task_id in (first, last)] == ["completed"] * 2
    assert (shop.store.task(poison).state, shop.store.task(poison).attempts) == (State.PENDING, 1)
    assert deaths_until_all_is_over(shop) == 2
    assert shop.view(poison)["error"].startswith("given up after 3 attempts")


def test_a_crew_whose_engine_cannot_be_had_again_waits_uncharged(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, max_batch=8, split_crash_on="CRASH"))
    ids = shop.add("One.", "CRASH.", "Two.", infer_mode=BATCH_MODE)
    shop.host.load()
    shop.host.abandon_load()  # no later load succeeds
    with pytest.raises(EngineUnavailable):
        shop.worker.step()
    tasks = [shop.store.task(task_id) for task_id in ids]
    assert [(task.state, task.attempts) for task in tasks] == [(State.PENDING, attempts) for attempts in (0, 1, 0)]


def test_a_text_that_cannot_be_spoken_fails_alone(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, max_batch=8, fail_on="FAIL"))
    first, bad, last = shop.add("One. Two.", "One. FAIL.", "Two.", infer_mode=BATCH_MODE)
    shop.worker.step()
    assert shop.view(bad)["error"] == "the engine failed: RuntimeError: the text holds 'FAIL'"
    assert [shop.view(task_id)["status"] for task_id in (first, last)] == ["completed"] * 2


def test_poison_late_in_a_long_text_does_not_take_its_neighbours_down_again_and_again(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, max_batch=4, crash_on="CRASH"), max_attempts=2)
    [poison, *good] = shop.add("One. " * 60 + "CRASH.", *["Fine. " * 30] * 3, infer_mode=BATCH_MODE)
    assert deaths_until_all_is_over(shop) <= 3
    assert shop.view(poison)["error"].startswith("given up after 2 attempts")
    assert [shop.view(task_id)["status"] for task_id in good] == ["completed"] * 3


def test_a_fault_of_our_own_in_a_crew_is_found_alone(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, max_batch=8))
    bad, good = shop.add("Bad luck.", "Fine.", infer_mode=BATCH_MODE)
    (tmp_path / "spool" / "1").write_bytes(b"a file where a folder belongs")
    shop.work_off()
    assert shop.view(bad)["error"].startswith("given up after 3 attempts: internal error: ")
    assert shop.view(good)["status"] == "completed"


def test_a_bug_of_ours_is_not_tried_for_ever_with_whatever_crew(make_workshop, tmp_path, monkeypatch):
    monkeypatch.delattr("daemon.worker.crew.pick")
    shop = make_workshop(make_host(tmp_path, max_batch=8))
    ids = shop.add("One.", "Two.", infer_mode=BATCH_MODE)
    steps = 0
    while shop.worker.step():
        steps += 1
        assert steps < 20
    error = "given up after 3 attempts: internal error: NameError"
    assert [shop.view(task_id)["error"] for task_id in ids] == [error] * 2


def test_a_daemon_killed_in_a_call_charges_nobody_and_finds_the_culprit(make_daemon):
    """Its first life hangs in a call of four and is killed; in the second that text kills the engine."""
    live = make_daemon(engine={"options": {"max_batch": 4, "hang_on": "POISON"}}).start()
    texts = ["One.", "Two.", "POISON.", "Three."]
    live.drop("four.json", [{"text": text, "infer_mode": BATCH_MODE} for text in texts])
    ledger = live.folder / "state" / "indexttsd.db"
    marked = "SELECT attempts FROM speeches WHERE in_company"
    until(lambda: len(rows(ledger, marked)) == 4, "the call of all four")
    live.stop(signal.SIGKILL)
    assert rows(ledger, marked) == [(0,)] * 4
    live.write_config(engine={"options": {"max_batch": 4, "crash_on": "POISON"}}, log={"level": "debug"})
    live.start()
    ended = live.note("failed/four.json.error.json")["tasks"]
    assert [view["status"] for view in ended] == ["completed", "completed", "failed", "completed"]
    assert ended[2]["error"] == "given up after 3 attempts: the engine's process was killed by SIGKILL"
    companies = re.findall(r"segments of (\d+) speeches", live.log.read_text())
    assert companies == ["1"] * len(companies) != []


def test_a_speech_lost_meanwhile_does_not_end_the_worker(make_workshop, caplog):
    shop = make_workshop()
    for error in (SpeechFailed("no"), EngineDied("gone"), OSError("full")):
        [task_id] = shop.add("Hello.")
        claimed = shop.store.claim()
        shop.store.complete(claimed, 1.0)
        settle(shop.rooms, claimed, error)
        assert shop.store.task(task_id).state is State.COMPLETED
    assert caplog.text.count("is no longer in this worker's hands") == 3


@pytest.mark.parametrize("prompt", [VOICES[0], "gone.wav"], ids=["in a call", "while it is planned"])
def test_what_the_ledger_cannot_take_down_ends_the_worker_so_that_a_new_start_finds_it(
    make_workshop, tmp_path, ledger_file, prompt
):
    """Swallowed, it would leave a task in work that nobody works at."""
    shop = make_workshop(make_host(tmp_path, max_batch=8, fail_on="FAIL"))
    good, bad = (*shop.add("Fine.", infer_mode=BATCH_MODE), *shop.add("FAIL", infer_mode=BATCH_MODE, prompt=prompt))
    refuse = "BEFORE UPDATE ON speeches WHEN NEW.state = 'failed' BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    rows(ledger_file, f"CREATE TRIGGER full {refuse}")
    with pytest.raises(Unsettled, match=f"{bad} stays claimed: .*disk full"):
        shop.worker.step()
    rows(ledger_file, "DROP TRIGGER full")
    shop.store.recover()
    shop.work_off()
    assert [shop.store.task(task_id).state for task_id in (good, bad)] == [State.COMPLETED, State.FAILED]


def test_nobody_joins_a_suspect(make_workshop, tmp_path, ledger_file):
    shop = make_workshop(make_host(tmp_path, max_batch=8, crash_on="CRASH"))
    shop.add("CRASH.", "Fine.", infer_mode=BATCH_MODE)
    shop.worker.step()
    shop.add("New.", infer_mode=BATCH_MODE)
    shop.worker.step()
    marks = rows(ledger_file, "SELECT token, attempts, in_company FROM speeches")
    assert marks == [(2, 1, 1), (1, 0, 1), (0, 0, 0)], "the first was charged alone, the new one not touched"


def test_a_cancelled_suspect_is_not_spoken_again(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, max_batch=8, crash_on="CRASH"))
    [poison, good] = shop.add("CRASH.", "Fine.", infer_mode=BATCH_MODE)
    shop.worker.step()
    shop.store.cancel(poison)
    shop.work_off()
    assert shop.view(poison)["error"] == "cancelled"
    assert shop.view(good)["status"] == "completed"
