"""The whole daemon: start, stop, restart, and what it refuses to start with."""

from __future__ import annotations

import signal

from tests.live import wav_facts


def test_a_posted_task_becomes_a_whole_wav_file(daemon):
    view = daemon.ended(daemon.submit("你好，世界。"))
    assert view["status"] == "completed"
    assert wav_facts(view["output_file"])[:3] == (24_000, 1, 2)


def test_a_dropped_file_becomes_a_whole_wav_file(daemon):
    daemon.drop("story.json", {"text": "Once upon a time."})
    [view] = daemon.note("done/story.json.result.json")
    assert view["status"] == "completed"
    assert wav_facts(view["output_file"])[3] > 0.5


def test_tasks_waiting_and_in_work_are_finished_after_a_restart(make_daemon):
    live = make_daemon(engine={"options": {"delay_seconds": 0.2}}).start()
    ids = [live.submit("One. Two. Three. Four. Five.") for _ in range(3)]
    live.reaches(ids[0], "processing")
    assert live.stop(signal.SIGTERM) == 0
    live.start()
    assert [live.ended(task_id)["status"] for task_id in ids] == ["completed"] * 3
