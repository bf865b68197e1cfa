"""Whole daemons whose engine falls ill, rests, or is asked about recordings."""

from __future__ import annotations

import shutil

import pytest

from tests.disks import injected
from tests.live import LiveDaemon, until, write_wav

FAULT = "it cannot be read as audio (Format not recognised); give a WAV file"
REFUSED = f"Specified prompt 'letter.wav' cannot be used: {FAULT}"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One whose engine can be poisoned, with a text file among its recordings."""
    engine = {"options": {"poison_on": "POISON", "picky": True}}
    live = LiveDaemon(tmp_path_factory.mktemp("health"), engine=engine)
    (live.folder / "prompts" / "letter.wav").write_text("Dear Sir or Madam, this is no recording.")
    live.start()
    yield live
    live.close()


def post(daemon, prompt):
    return daemon.post("/api/tts/tasks", {"text": "Hello.", "output_path": "out", "prompt_path": prompt})


def refused(daemon, prompt):
    """The refusal's sentence, once the engine has listened to that recording."""
    return until(lambda: (answer := post(daemon, prompt)).status == 400 and answer.detail, "a refusal")


def test_a_text_file_named_wav_is_refused_over_http_once_the_engine_listened_to_it(daemon):
    assert refused(daemon, "letter.wav") == REFUSED
    assert "letter.wav" in daemon.get("/api/tts/prompts").json["prompts"]
    assert f"the prompt letter.wav cannot be used: {FAULT}" in daemon.log.read_text()


def test_a_dropped_file_that_asks_for_it_is_refused_with_the_same_sentence(daemon):
    refused(daemon, "letter.wav")
    daemon.drop("ask.json", {"text": "Hello.", "prompt_path": "letter.wav"})
    assert daemon.note("failed/ask.json.error.json")["detail"] == REFUSED


def test_a_recording_in_its_place_can_be_used_at_once(daemon):
    prompts = daemon.folder / "prompts"
    shutil.copy(prompts / "letter.wav", prompts / "mended.wav")
    refused(daemon, "mended.wav")
    write_wav(prompts / "new", level=3).rename(prompts / "mended.wav")
    assert daemon.ended(post(daemon, "mended.wav").json["task_id"])["status"] == "completed"


def test_a_recording_that_the_disk_did_not_give_is_refused_by_neither_door(daemon):
    unread = daemon.folder / "prompts" / "unread.wav"
    with injected(until(daemon.engine_pid), "read:error=EIO", unread):
        shutil.copy(unread.with_name("letter.wav"), unread)
        daemon.ended(daemon.submit(prompt_path="alice.wav"))  # between two tasks the engine listens
        until(lambda: "unread.wav could not be listened to, and will be again" in daemon.log.read_text(), "the line")
    assert daemon.ended(post(daemon, "unread.wav").json["task_id"])["status"] == "completed"
    daemon.drop("unread.json", {"text": "Hello.", "prompt_path": "unread.wav"})
    [view] = daemon.note("done/unread.json.result.json")
    assert view["status"] == "completed"


def test_an_engine_that_cannot_go_on_is_replaced_and_only_the_culprit_fails(daemon):
    pid = until(daemon.engine_pid)
    culprit = daemon.submit("POISON", prompt_path="alice.wav")
    others = [daemon.submit(f"Text {n}.", prompt_path="alice.wav") for n in range(3)]
    reason = "the engine's process gave up: RuntimeError"
    assert daemon.ended(culprit)["error"] == f"given up after 3 attempts: {reason}"
    assert [daemon.ended(task_id)["status"] for task_id in others] == ["completed"] * 3
    assert daemon.engine_pid() not in (None, pid)


def test_an_unloaded_engine_is_ready_and_comes_back_with_a_task(make_daemon):
    daemon = make_daemon(engine={"unload_after": 0.1}).start()
    until(lambda: daemon.get("/api/tts/stats").json["engine"] == {"name": "tone", "state": "unloaded"}, "unloading")
    assert daemon.get("/ready").status == 200
    assert daemon.engine_pid() is None
    assert daemon.ended(daemon.submit())["status"] == "completed"
    until(lambda: daemon.get("/api/tts/stats").json["engine"]["state"] == "unloaded", "unloading again")


def test_an_engine_that_grew_too_heavy_is_replaced_between_tasks(make_daemon):
    daemon = make_daemon(engine={"options": {"grow_mb": 300}, "recycle_rss_mb": 250}).start()
    before = until(daemon.engine_pid)
    assert daemon.ended(daemon.submit("One. Two."))["status"] == "completed"
    until(lambda: daemon.engine_pid() not in (None, before), "another process")
    assert "MB, and engine.recycle_rss_mb allows 250; it is replaced" in daemon.log.read_text()
