"""The drop folder of a real daemon, from the outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.live import LiveDaemon, until, wav_facts


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_dropped_task_is_spoken_to_a_folder_named_after_its_file(daemon):
    daemon.drop("story.JSON", {"text": "Once upon a time."})
    [view] = daemon.note("done/story.JSON.result.json")
    file = Path(view["output_file"])
    assert file.parent == daemon.outputs / "story"
    assert file.name == f"{view['task_id']}.wav"
    assert wav_facts(file)[:3] == (24_000, 1, 2)


def test_the_note_of_a_done_file_holds_what_the_api_shows(daemon):
    daemon.drop("views.json", [{"text": "a"}, {"speeches": {"b.wav": "b"}}])
    views = daemon.note("done/views.json.result.json")
    assert views == [daemon.view(view["task_id"]) for view in views]


def test_the_file_follows_its_note_into_done(daemon):
    daemon.drop("pair.json", {"text": "a"})
    daemon.note("done/pair.json.result.json")
    until((daemon.inbox / "done/pair.json").exists, "the file beside its note")


def test_a_slow_writer_in_its_own_process_is_waited_for(daemon):
    writer = "import sys; f = open(sys.argv[1], 'w'); f.write('{\"text\": '); f.flush(); input(); f.write('\"slow\"}')"
    with subprocess.Popen([sys.executable, "-c", writer, daemon.inbox / "slow.json"], stdin=subprocess.PIPE) as process:
        until((daemon.inbox / "slow.json").exists, "the file")
        daemon.drop("quick.json", {"text": "a"})
        daemon.note("done/quick.json.result.json")
        assert (daemon.inbox / "slow.json").exists()
        process.communicate(b"\n")
    assert daemon.note("done/slow.json.result.json")[0]["status"] == "completed"


def test_a_pipe_in_the_inbox_does_not_stop_it(daemon):
    os.mkfifo(daemon.inbox / "pipe.json")
    daemon.note("failed/pipe.json.error.json")
    daemon.drop("after.json", {"text": "a"})
    daemon.note("done/after.json.result.json")


def test_a_file_with_a_name_beyond_utf8_is_spoken(daemon):
    name = b"caf\xe9.json".decode(errors="surrogateescape")
    daemon.drop(name, {"text": "a"})
    assert daemon.note("done/caf\ufffd.json.result.json")[0]["output_path"].endswith("/caf\ufffd")


def test_an_output_file_that_is_in_the_way_fails_the_batch_and_stays(daemon):
    folder = daemon.outputs / "way"
    folder.mkdir()
    (folder / "other.wav").write_text("mine")
    daemon.drop("way.json", {"speeches": {"other.wav": "a"}})
    assert "other.wav exists already" in daemon.note("failed/way.json.error.json")["detail"]
    assert (folder / "other.wav").read_text() == "mine"


def test_the_log_shows_a_name_with_a_newline_in_one_line(daemon):
    daemon.drop("one\n2000-01-01 forged.json", b"")
    daemon.note("failed/one\n2000-01-01 forged.json.error.json")
    assert not any(line.startswith("2000-01-01") for line in daemon.log.read_text().splitlines())


def test_stats_count_what_waits_and_nothing_that_is_ignored(daemon):
    daemon.drop("ignored.json.tmp", b"")
    with (daemon.inbox / "open.json").open("wb"):
        until(lambda: daemon.get("/api/tts/stats").json["inbox"]["waiting"] == 1, "the count")
    until(lambda: daemon.get("/api/tts/stats").json["inbox"]["waiting"] == 0, "the count")


def test_a_killed_daemon_goes_on_with_what_it_had_taken_and_takes_what_came_meanwhile(make_daemon):
    live = make_daemon(engine={"options": {"delay_seconds": 0.1}}).start()
    live.drop("known.json", [{"text": f"{n}. One. Two."} for n in range(3)])
    until(lambda: names_claimed(live), "the claim")
    until(lambda: live.get("/api/tts/stats").json["tasks"]["processing"], "the work")
    live.stop(signal.SIGKILL)
    (live.inbox / ".claimed" / f"{'a' * 32}--unknown.json").write_text('{"text": "never read"}')
    live.drop("meanwhile.json", {"text": "a"})
    live.drop("broken.json", b"{")
    live.start()
    assert live.note("failed/broken.json.error.json")["line"] == 1
    assert live.note("done/meanwhile.json.result.json")[0]["status"] == "completed"
    assert [view["status"] for view in live.note("done/known.json.result.json")] == ["completed"] * 3
    assert live.note("done/unknown.json.result.json")[0]["status"] == "completed"
    until(lambda: not names_claimed(live), "an empty .claimed/")
    assert live.get("/api/tts/stats").json["tasks"]["completed"] == 5


def names_claimed(live):
    return names(live.inbox / ".claimed")


def test_a_second_daemon_on_the_same_inbox_is_refused_with_a_sentence(daemon, make_daemon):
    second = make_daemon(paths={"inbox": str(daemon.inbox)})
    assert refusal(second) == f"another indexttsd is using the inbox {daemon.inbox}"
    daemon.drop("still.json", {"text": "a"})
    daemon.note("done/still.json.result.json")


def test_a_second_daemon_on_the_same_state_folder_is_refused_with_a_sentence(daemon, make_daemon):
    state = daemon.folder / "state"
    second = make_daemon(paths={"state": str(state)})
    assert refusal(second) == f"another indexttsd is using the state folder {state}"


def refusal(live: LiveDaemon) -> str:
    """The sentence of a daemon that does not start, without its advice; fails unless the exit code is 78."""
    command = [sys.executable, "-m", "daemon", "serve", "--config", str(live.config)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 78, done.stderr
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if "another indexttsd" in line]
    return line[line.index("another") : line.index(";")]
