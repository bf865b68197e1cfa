"""The API against whole daemons: views along a task's life, batches, retries, restarts, a loading engine."""

from __future__ import annotations

import http.client
import signal
from pathlib import Path

import pytest

from tests.live import PATIENCE, LiveDaemon, until, wav_facts, write_wav

TASKS = "/api/tts/tasks"


@pytest.fixture(scope="module")
def picky(tmp_path_factory):
    """A daemon whose engine fails on the word 'broken' and takes a moment over everything."""
    options = {"fail_on": "broken", "delay_seconds": 0.02}
    live = LiveDaemon(tmp_path_factory.mktemp("picky"), engine={"options": options}).start()
    yield live
    live.close()


def spoken(live: LiveDaemon, task_id: str) -> bytes:
    answer = live.get(f"{TASKS}/{task_id}/audio")
    assert answer.status == 200
    return answer.body


def test_a_task_goes_through_its_life(picky):
    task = picky.submit("One. Two. Three.", seed=5, prompt_path="bob.wav")
    view = picky.ended(task)
    assert (view["status"], view["prompt"], view["seed"], view["attempt"]) == ("completed", "bob.wav", 5, 1)
    assert (view["progress"], view["segments_done"], view["segments_total"]) == (1.0, 3, 3)
    assert view["output_file"] == str(picky.outputs / "out" / f"{task}.wav")
    assert wav_facts(view["output_file"])[3] == pytest.approx(view["audio_seconds"], abs=0.01)
    assert view["process_time"] >= 0.06
    assert view["created_at"] <= view["started_at"] <= view["finished_at"]
    assert spoken(picky, task) == Path(view["output_file"]).read_bytes()


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3"])
def test_every_format_is_spoken_under_its_name(picky, name):
    view = picky.ended(picky.submit(format=name))
    assert view["output_file"].endswith(f"{view['task_id']}.{name}")
    starts = {"wav": (b"RIFF",), "flac": (b"fLaC",), "ogg": (b"OggS",), "mp3": (b"ID3", b"\xff\xfb", b"\xff\xf3")}
    assert spoken(picky, view["task_id"]).startswith(starts[name])


def test_the_same_seed_and_voice_give_the_same_sound(picky):
    one, same, other = (
        picky.submit(seed=seed, prompt_path="alice.wav") for seed in (1, 1, 2)
    )  # the tone's pitch comes from both
    for task in (one, same, other):
        picky.ended(task)
    assert spoken(picky, one) == spoken(picky, same) != spoken(picky, other)


def test_a_failed_task_says_why_and_can_be_tried_again(picky):
    task = picky.submit("This is broken.", seed=3)
    for _ in range(2):
        view = picky.ended(task)
        assert (view["status"], view["seed"]) == ("failed", 3)
        assert "broken" in view["error"]
        assert "output_file" not in view
        assert picky.get(f"{TASKS}/{task}/audio").status == 409
        assert picky.post(f"{TASKS}/{task}/retry").json["task_id"] == task


def test_a_failing_file_does_not_stop_its_batch(picky):
    batch = picky.submit_batch({"a.wav": "Fine.", "b.wav": "broken", "c.wav": "Fine."}, output_directory="mixed")
    view = picky.ended(batch)
    assert (view["status"], view["processed_files"], view["total_files"]) == ("completed", 2, 3)
    assert [error["filename"] for error in view["errors"]] == ["b.wav"]
    assert sorted(file.name for file in (picky.outputs / "mixed").iterdir()) == ["a.wav", "c.wav"]
    answer = picky.post("/api/tts/batch_tasks", {"output_directory": "mixed", "speeches": {"a.wav": "Again."}})
    assert answer.status == 400
    before = (picky.outputs / "mixed" / "a.wav").stat()
    assert picky.post(f"{TASKS}/{batch}/retry").status == 200
    assert picky.ended(batch)["processed_files"] == 2
    assert (picky.outputs / "mixed" / "a.wav").stat() == before


def test_a_batch_of_which_nothing_could_be_made_has_failed(picky):
    view = picky.ended(picky.submit_batch({"a.wav": "broken", "b.wav": "broken"}, output_directory="none"))
    assert (view["status"], view["processed_files"], len(view["errors"])) == ("failed", 0, 2)


def test_a_batch_may_replace_what_is_there_if_it_says_so(picky):
    folder = picky.outputs / "again"
    picky.ended(picky.submit_batch({"a.wav": "Short."}, output_directory="again"))
    before = wav_facts(folder / "a.wav")[3]
    picky.ended(picky.submit_batch({"a.wav": "Quite a bit longer."}, output_directory="again", overwrite=True))
    assert wav_facts(folder / "a.wav")[3] > before


def test_a_task_in_work_can_be_cancelled_and_retried(picky):
    task = picky.submit("Go on. " * 1000, output_path="cancelled")
    for _ in range(2):
        picky.reaches(task, "processing")
        assert picky.delete(f"{TASKS}/{task}").status == 200
        view = picky.ended(task)
        assert (view["status"], view["error"]) == ("failed", "cancelled")
        assert picky.delete(f"{TASKS}/{task}").status == 409
        assert picky.post(f"{TASKS}/{task}/retry").json["status"] == "pending"
    assert picky.delete(f"{TASKS}/{task}").status == 200
    assert picky.ended(task)["error"] == "cancelled"
    assert not list((picky.outputs / "cancelled").iterdir())


def test_what_was_accepted_is_known_after_a_kill(make_daemon):
    live = make_daemon().start()
    body = {"text": "Hello.", "output_path": "x", "seed": 1}
    first = live.post(TASKS, body, **{"Idempotency-Key": "k"})
    batch = live.submit_batch({"a.wav": "Hello."})
    live.restart(signal.SIGKILL)
    assert live.ended(first.json["task_id"])["status"] == "completed"
    assert live.ended(batch)["status"] == "completed"
    assert live.post(TASKS, body, **{"Idempotency-Key": "k"}).body == first.body
    assert live.submit().endswith("_2")
    assert wav_facts(live.outputs / "x" / f"{first.json['task_id']}.wav")


def test_without_an_engine_the_doors_are_open_and_the_daemon_stops_well(make_daemon):
    live = make_daemon(engine={"name": "kokoro", "model_dir": "nowhere"}).start(ready=False)
    refused = until(lambda: (answer := live.get("/ready")).status == 503 and answer)
    assert refused.detail
    assert live.get("/health").json == {"status": "ok"}
    assert live.view(live.submit())["queue_position"] == 0
    client = http.client.HTTPConnection("127.0.0.1", live.port, timeout=PATIENCE)
    client.request("GET", "/health")
    assert client.getresponse().read() == b'{"status": "ok"}'
    assert live.stop() == 0  # although this client stays connected
    client.close()


def test_a_new_recording_is_a_new_voice_at_once(picky):
    write_wav(picky.folder / "prompts" / "zoe.wav", level=9)
    assert "zoe.wav" in picky.get("/api/tts/prompts").json["prompts"]
    assert picky.ended(picky.submit(prompt_path="zoe.wav"))["prompt"] == "zoe.wav"
