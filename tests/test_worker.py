"""The loop, with a real ledger, real folders and a real engine process: what becomes of a speech."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from daemon.audio import Audio
from daemon.errors import EngineUnavailable
from daemon.host import HostState
from daemon.tasks import State
from tests.live import PATIENCE, until, wav_facts, write_wav
from tests.workshop import make_host, samples


@pytest.fixture
def shop(make_workshop):
    return make_workshop()


def is_kept(shop, speech, index):
    return shop.spool.shelf(speech).segment(index) is not None


# Speaking


def test_a_text_becomes_a_file_with_all_its_segments(shop, tmp_path):
    [task_id] = shop.add("One. Two. Three.")
    shop.work_off()
    shown = shop.view(task_id)
    assert (shown["status"], shown["segments_done"], shown["segments_total"]) == ("completed", 3, 3)
    assert wav_facts(shown["output_file"]) == (24_000, 1, 2, pytest.approx(16 * 0.05 + 2 * 0.1))
    assert shown["audio_seconds"] == pytest.approx(1.0)
    assert shop.files() == [f"{task_id}.wav"], "nothing but the file"
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_batch_has_the_names_it_was_given(shop):
    [task_id] = shop.add("", speeches={"b.wav": "B.", "a.wav": "A.", "bad.wav": "FAIL."})
    shop.work_off()
    shown = shop.view(task_id)
    assert (shop.files(), shown["status"], shown["processed_files"]) == (["a.wav", "b.wav"], "completed", 2)
    assert [row["filename"] for row in shown["errors"]] == ["bad.wav"]


def test_the_same_seed_gives_the_same_file_and_another_another(shop):
    ids = [*shop.add("One. Two.", "One. Two."), *shop.add("One. Two.", seed=8)]
    shop.work_off()
    first, second, other = (samples(shop.view(task_id)["output_file"]) for task_id in ids)
    assert first == second != other


# Failing


def test_a_failing_text_fails_alone_and_says_why(shop):
    bad, good = shop.add("One. FAIL. Three.", "Fine.")
    shop.work_off()
    assert shop.view(bad)["status"] == "failed"
    assert shop.view(bad)["error"] == "the engine failed: RuntimeError: the text holds 'FAIL'"
    assert shop.view(good)["status"] == "completed"
    assert shop.files() == [f"{good}.wav"]


def test_the_engine_time_of_a_failed_speech_counts(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, delay_seconds=0.02, fail_on="FAIL"))
    [task_id] = shop.add("One. FAIL.")
    shop.work_off()
    assert shop.view(task_id)["process_time"] >= 0.02


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_text_that_kills_the_engine_is_given_up_and_its_neighbours_go_on(make_workshop, max_attempts):
    shop = make_workshop(max_attempts=max_attempts)
    poison, good = shop.add("One. CRASH.", "Fine.")
    deaths = 0
    while shop.worker.step():
        deaths += shop.host.state is HostState.STOPPED
    assert deaths == max_attempts
    error = f"given up after {max_attempts} attempts: the engine's process was killed by SIGKILL"
    assert (shop.view(poison)["status"], shop.view(poison)["error"]) == ("failed", error)
    assert shop.view(good)["status"] == "completed"


def test_a_text_that_hangs_the_engine_is_given_up_too(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, timeout=0.5, hang_on="HANG"), max_attempts=1)
    [task_id] = shop.add("HANG.")
    shop.work_off()
    assert shop.view(task_id)["error"] == "given up after 1 attempts: the engine did not answer within 0.5 s"


def test_a_finished_segment_resets_the_count_of_attempts(shop):
    [task_id] = shop.add("One. Two. CRASH.")
    shop.worker.step()
    shown = shop.view(task_id)
    assert (shown["status"], shown["attempt"], shown["segments_done"]) == ("pending", 1, 2)


def test_a_fault_of_our_own_is_not_tried_for_ever(shop, tmp_path):
    bad, good = shop.add("Bad luck.", "Fine.")
    (tmp_path / "spool" / "1").write_bytes(b"a file where a folder belongs")
    steps = 0
    while shop.worker.step():
        steps += 1
        assert steps < 10
    assert shop.view(bad)["error"].startswith("given up after 3 attempts: internal error: ")
    assert shop.view(good)["status"] == "completed"


def test_a_voice_that_is_gone_is_a_sentence(shop, tmp_path):
    [task_id] = shop.add("Hello.")
    (tmp_path / "prompts" / "alice.wav").unlink()
    shop.work_off()
    assert shop.view(task_id)["error"] == "the prompt 'alice.wav' is no longer in the prompts folder"


def test_a_strangers_file_is_never_overwritten(shop):
    [task_id] = shop.add("Hello.")
    file = shop.out / f"{task_id}.wav"
    file.write_bytes(b"precious")
    shop.work_off()
    assert shop.view(task_id)["status"] == "failed"
    assert file.read_bytes() == b"precious"
    assert shop.files() == [file.name]


def test_overwrite_replaces_what_is_there(shop):
    (shop.out / "a.wav").write_bytes(b"old")
    [task_id] = shop.add("", speeches={"a.wav": "New."}, overwrite=True)
    shop.work_off()
    assert shop.view(task_id)["status"] == "completed"
    assert wav_facts(shop.out / "a.wav")[3] > 0


def test_without_an_engine_nothing_is_claimed(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, name="missing"))
    [task_id] = shop.add("Hello.")
    with pytest.raises(EngineUnavailable, match="missing"):
        shop.worker.step()
    assert (shop.view(task_id)["status"], shop.view(task_id)["attempt"]) == ("pending", 0)
    running = threading.Thread(target=shop.worker.run)
    running.start()
    until(lambda: shop.host.state is HostState.UNAVAILABLE)
    shop.worker.stop()
    running.join(PATIENCE)
    assert not running.is_alive()


# Going on


SILENCE = Audio(bytes(2 * 24_00), 24_000)


@pytest.fixture
def begun(shop, make_workshop, tmp_path):
    """A speech of which two segments are kept, the first of them marked, and a worker that can finish it."""
    [task_id] = shop.add("One. Two. CRASH.")
    shop.worker.step()
    assert is_kept(shop, 1, 1)
    shop.spool.shelf(1).keep(0, SILENCE)
    return make_workshop(make_host(tmp_path)), task_id


def test_what_was_spoken_is_not_spoken_again(begun):
    shop, task_id = begun
    shop.work_off()
    assert shop.view(task_id)["status"] == "completed"
    assert shop.view(task_id)["segments_done"] == 3
    assert samples(shop.view(task_id)["output_file"]).startswith(SILENCE.pcm), "the kept segment was used"


def test_a_damaged_segment_is_spoken_again(begun, tmp_path):
    shop, task_id = begun
    [plain] = shop.add("One. Two. CRASH.")
    for file in (tmp_path / "spool" / "1").glob("0*"):
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    shop.work_off()
    one, other = (samples(shop.view(name)["output_file"]) for name in (task_id, plain))
    assert one == other, "as if it had never been interrupted"


def test_another_voice_under_the_same_name_begins_anew(begun, tmp_path):
    shop, task_id = begun
    write_wav(tmp_path / "prompts" / "alice.wav", level=5)
    shop.work_off()
    assert not samples(shop.view(task_id)["output_file"]).startswith(SILENCE.pcm)
    assert shop.view(task_id)["segments_done"] == 3


def test_a_file_published_just_before_a_crash_is_recognised_as_its_own(shop, ledger_file):
    [task_id] = shop.add("Hello.")
    shop.work_off()
    with sqlite3.connect(ledger_file) as connection:  # as if the daemon had died before the last commit
        connection.execute("UPDATE speeches SET state = 'processing'")
        connection.execute("UPDATE tasks SET state = 'processing', finished_at = NULL")
    connection.close()
    assert len(shop.store.orphans()) == 1
    shop.store.recover()
    shop.work_off()
    assert shop.view(task_id)["status"] == "completed"
    assert shop.files() == [f"{task_id}.wav"]


# Ending early


@pytest.fixture
def speaking(make_workshop, tmp_path):
    """Starts a worker on one slow text; gives its workshop, the task and a function that waits for the end."""
    running = []

    def start(text, delay):
        shop = make_workshop(make_host(tmp_path, delay_seconds=delay))
        [task_id] = shop.add(text)
        running.append(threading.Thread(target=shop.worker.step))
        running[-1].start()
        until(lambda: shop.store.task(task_id).segments_total, "the plan")
        return shop, task_id

    yield start, lambda: running[-1].join(PATIENCE)
    for thread in running:
        thread.join(PATIENCE)


def test_a_cancelled_speech_ends_at_its_next_segment(speaking):
    start, wait = speaking
    shop, task_id = start("One. " * 40, 0.03)
    until(lambda: shop.store.task(task_id).segments_done)
    shop.store.cancel(task_id)
    wait()
    shown = shop.view(task_id)
    assert (shown["status"], shown["error"]) == ("failed", "cancelled")
    assert 0 < shown["segments_done"] < 40
    assert shown["process_time"] > 0
    assert shop.files() == []


def test_a_speech_cancelled_in_its_last_segment_leaves_no_file(speaking):
    start, wait = speaking
    shop, task_id = start("One.", 0.7)
    shop.store.cancel(task_id)
    wait()
    assert shop.view(task_id)["error"] == "cancelled"
    assert shop.files() == []


def test_a_stop_finishes_the_segment_and_keeps_it(speaking, make_workshop):
    start, wait = speaking
    shop, task_id = start("One. " * 40, 0.03)
    until(lambda: shop.store.task(task_id).segments_done)
    shop.worker.stop()
    wait()
    shown = shop.view(task_id)
    assert (shown["status"], shown["attempt"]) == ("pending", 1)
    assert 0 < shown["segments_done"] < 40
    assert all(is_kept(shop, 1, index) for index in range(shown["segments_done"]))
    make_workshop().work_off()
    assert shop.store.task(task_id).state is State.COMPLETED
