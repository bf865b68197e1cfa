"""The whole daemon with each IndexTTS, on tiny random weights: both doors, both modes, many voices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.tasks import BATCH_MODE, PLAIN_MODE
from tests.live import LiveDaemon, until, wav_facts
from tests.tiny import common, sides, v2, v15, v25

PROMPTS = Path(__file__).parents[1] / "prompts"
TEXT = "你好，世界。HELLO WORLD, THIS IS A GOOD DAY."
QUICK = {"max_mel_tokens": 40, "max_text_tokens_per_segment": 12}
#: Five processes that import torch on two cores take their time: seconds.
PATIENCE = 200
RATES = {"indextts-1.5": 24_000, "indextts-2": 22_050, "indextts-2.5": 22_050}
FOLDERS = {"indextts-1.5": v15.folder, "indextts-2": v2.folder, "indextts-2.5": v25.folder}

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module", params=sorted(RATES))
def live(request, tmp_path_factory) -> Iterator[LiveDaemon]:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "prompts").mkdir()
    for prompt in PROMPTS.glob("*.wav"):
        common.write_brief(prompt, folder / "prompts" / prompt.name)
    sides.share_compiled(folder / "state" / "cache")
    (folder / "prompts" / "text.wav").write_text("this is no recording")
    engine = {"name": request.param, "model_dir": str(FOLDERS[request.param](tmp_path_factory)), "device": "cpu"}
    daemon = LiveDaemon(folder, engine=engine, prompts={"default": "female_zh.wav"}).start(ready=False)
    until(lambda: daemon.get("/ready").status == 200, "the engine", PATIENCE)
    yield daemon
    daemon.close()
    print(daemon.log.read_text(errors="replace")[-5000:])


def name(live: LiveDaemon) -> str:
    return live.get("/api/tts/stats").json["engine"]["name"]


def completed(live: LiveDaemon, task_id: str) -> dict:
    view = live.ended(task_id, PATIENCE)
    assert view["status"] == "completed", view
    return view


def spoken(live: LiveDaemon, task_id: str) -> bytes:
    return Path(completed(live, task_id)["output_file"]).read_bytes()


def test_tasks_of_both_modes_and_many_voices_come_through_both_doors(live):
    asked = {"text": TEXT, "output_path": "doors", "options": QUICK}
    posted = [
        live.submit(**asked, infer_mode=mode, prompt_path=voice)
        for mode in (PLAIN_MODE, BATCH_MODE)
        for voice in ("female_zh.wav", "male_zh.wav")
    ]
    live.drop(
        "both.json",
        [asked, {"speeches": {"a.wav": TEXT, "b.wav": "你好。"}, "options": QUICK, "infer_mode": BATCH_MODE}],
    )
    views = [completed(live, task_id) for task_id in posted]
    until((live.inbox / "done" / "both.json").exists, "the dropped file", PATIENCE)
    files = [Path(view["output_file"]) for view in views] + sorted((live.outputs / "both").glob("*.wav"))
    assert len({file.read_bytes() for file in files}) == len(posted) + 2
    for file in files:
        rate, channels, width, seconds = wav_facts(file)
        assert (rate, channels, width) == (RATES[name(live)], 1, 2)
        assert seconds > 0.1
    assert all(view["segments_done"] == view["segments_total"] > 1 for view in views)


@pytest.mark.parametrize("mode", [PLAIN_MODE, BATCH_MODE])
def test_the_same_seed_gives_the_same_file_even_if_the_engine_dies_in_between(live, mode):
    if mode == PLAIN_MODE and name(live) != "indextts-1.5":
        pytest.skip("a new process sounds the same: the conformance tests hold that, and each costs many seconds")
    asked = {"text": TEXT * 2, "infer_mode": mode, "prompt_path": "male_zh.wav", "seed": 5, "options": QUICK}
    whole = spoken(live, live.submit(**asked))
    task_id = live.submit(**asked)
    until(lambda: live.view(task_id)["segments_done"] > 0, "a first segment", PATIENCE)
    os.kill(live.engine_pid(), signal.SIGKILL)
    assert spoken(live, task_id) == whole
    assert spoken(live, live.submit(**{**asked, "seed": 6})) != whole


def test_what_the_engine_does_not_know_is_refused_at_the_door(live):
    def detail(**keys: object) -> str:
        answer = live.post("/api/tts/tasks", {"text": TEXT, "output_path": "x", **keys})
        assert answer.status == 400
        return answer.detail

    assert "did you mean 'temperature'" in detail(options={"temprature": 1})
    assert "'num_beams' 3 with sampling" in detail(options={"num_beams": 3}, infer_mode=BATCH_MODE)


def test_a_useless_recording_is_refused_at_the_door_once_it_was_listened_to(live):
    asked = {"text": TEXT, "output_path": "x", "prompt_path": "text.wav"}
    answer = until(
        lambda: (answer := live.post("/api/tts/tasks", asked)).status == 400 and answer, "the verdict", PATIENCE
    )
    assert "'text.wav'" in answer.detail
    assert "cannot be read as audio" in answer.detail


def test_a_text_without_words_fails_alone_in_a_batch(live):
    task_id = live.submit_batch({"good.wav": "你好。", "signs.wav": "……！？"}, infer_mode=BATCH_MODE, options=QUICK)
    view = completed(live, task_id)
    assert view["processed_files"] == 1
    assert [error["filename"] for error in view["errors"]] == ["signs.wav"]
    assert "nothing to speak" in view["errors"][0]["error"]


def test_a_cancel_takes_hold_between_two_segments(live):
    task_id = live.submit(TEXT * 40, options=QUICK)
    until(lambda: live.view(task_id)["segments_done"] > 0, "a first segment", PATIENCE)
    live.delete(f"/api/tts/tasks/{task_id}")
    view = live.ended(task_id, PATIENCE)
    assert (view["status"], view["error"]) == ("failed", "cancelled")
    assert view["segments_done"] < view["segments_total"]


def test_nothing_is_written_beside_state_and_outputs_and_upstream_is_quiet_in_the_log(live):
    known = {"config.yaml", "prompts", "inbox", "outputs", "state", "daemon.log"}
    assert {entry.name for entry in live.folder.iterdir()} <= known
    assert ">>" not in live.log.read_text(errors="replace")  # how upstream begins its prints
