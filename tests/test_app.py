"""The whole daemon: start, stop, restart, its log, its size, and what it does not start with."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import config
from daemon.app import App
from daemon.errors import ConfigError
from tests.live import PATIENCE, LiveDaemon, until, wav_facts


def is_gone(pid):
    """Whether a process is dead, a zombie included."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# Speaking


def test_a_posted_task_becomes_a_whole_wav_file(daemon):
    view = daemon.ended(daemon.submit("你好，世界。"))
    assert view["status"] == "completed"
    assert wav_facts(view["output_file"])[:3] == (24_000, 1, 2)


def test_a_dropped_file_becomes_a_whole_wav_file(daemon):
    daemon.drop("story.json", {"text": "Once upon a time."})
    [view] = daemon.note("done/story.json.result.json")
    assert view["status"] == "completed"
    assert wav_facts(view["output_file"])[3] > 0.5


def test_a_long_chapter_is_spoken_in_little_memory(daemon):
    view = daemon.ended(daemon.submit("word " * 4000))
    assert (view["status"], view["segments_done"]) == ("completed", 200)
    assert wav_facts(view["output_file"])[3] == pytest.approx(20_000 * 0.05 + 199 * 0.1)
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) <= 80 * 1024, peak


def test_the_daemon_carries_no_library_of_the_engines(daemon):
    daemon.ended(daemon.submit())
    assert daemon.get("/api/tts/stats").status == 200
    maps = Path(f"/proc/{daemon.pid}/maps").read_text()
    assert "pydantic_core" in maps, "the map shows what is loaded"
    assert [name for name in ("torch", "onnxruntime", "numpy", "libsndfile", "alembic") if name in maps] == []


def test_the_log_tells_no_texts_and_cannot_be_forged(daemon):
    daemon.ended(daemon.submit("A SECRET text."))
    daemon.drop("a\x1b[31m\nERROR forged.json", b"{")
    until(lambda: "forged" in daemon.log.read_text(encoding="utf-8"), "the line")
    log = daemon.log.read_text(encoding="utf-8")
    assert "SECRET" not in log
    assert not [sign for sign in log if sign != "\n" and not sign.isprintable()]
    assert not [line for line in log.splitlines() if line.startswith("ERROR")]


# What it does not start with


@pytest.mark.parametrize("shared", ["state", "inbox", "port"])
def test_a_second_daemon_is_refused_with_exit_78_and_one_line(daemon, tmp_path, shared):
    other = LiveDaemon(tmp_path / "other")
    if shared == "port":
        other.write_config(server={"port": daemon.port})
        sentence = f"'server.port': cannot listen on 127.0.0.1 port {daemon.port}"
    else:
        other.write_config(paths={shared: str(daemon.folder / shared)})
        sentence = "another indexttsd is using the "
    command = [sys.executable, "-m", "daemon", "serve", "--config", str(other.config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (78, "")
    [line] = ended.stderr.strip().splitlines()
    assert sentence in line


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"server": {"host": "0.0.0.0"}}, "line 6: server.host 0.0.0.0 is reachable from other machines"),
        ({"server": {"host": "::"}}, "line 6: server.host :: is reachable from other machines"),
        ({"server": {"host": "a..b"}}, "line 6: server.host 'a..b' is no address of this machine"),
        ({"engine": {"name": "indextts-2.5"}}, "line 2: 'engine.name': indextts-2.5 is not in this version yet"),
        ({"engine": {"options": {"delay": 1}}}, "line 4: 'engine.options.delay': unknown key 'delay'"),
        ({"paths": {"prompts": "config.yaml"}}, "'paths.prompts'"),
        ({"paths": {"inbox": "config.yaml/inbox"}}, "'paths.inbox'"),
    ],
    ids=["everywhere", "everywhere, IPv6", "no address", "engine", "option", "a file", "in a file"],
)
def test_what_an_operator_must_mend_is_named_with_its_place(tmp_path, settings, sentence):
    live = LiveDaemon(tmp_path / "daemon")
    live.write_config(**settings)
    with pytest.raises(ConfigError) as refused:
        App(config.load(live.config))
    assert sentence in str(refused.value)
    assert str(live.config) in str(refused.value)


# Stopping


def test_tasks_waiting_and_in_work_are_finished_after_a_restart(make_daemon, tmp_path, monkeypatch):
    """A clean stop, told to systemd; then the rest."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    live = make_daemon(engine={"options": {"delay_seconds": 0.2}})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        live.start()
        assert b"READY=1" in systemd.recv(1000).split(b"\n")
        ids = [live.submit("One. Two. Three. Four. Five.") for _ in range(3)]
        live.reaches(ids[0], "processing")
        assert live.stop(signal.SIGTERM) == 0
        assert b"STOPPING=1" in systemd.recv(1000).split(b"\n")
    assert "Traceback" not in live.log.read_text()
    live.start()  # and nobody listens at NOTIFY_SOCKET now
    assert [live.ended(task_id)["status"] for task_id in ids] == ["completed"] * 3


def test_a_killed_daemon_takes_its_engine_along_and_its_work_goes_on(make_daemon):
    live = make_daemon(engine={"options": {"delay_seconds": 0.1}}).start()
    task_id = live.submit("One. Two. Three. Four. Five. Six.")
    until(lambda: live.view(task_id)["segments_done"] >= 2, "two segments")
    engine = live.engine_pid()
    assert engine
    assert os.getsid(engine) != os.getsid(live.pid), "a Ctrl-C in the terminal does not reach it"
    live.stop(signal.SIGKILL)
    until(lambda: is_gone(engine), "the engine's end")
    live.start()
    view = live.ended(task_id)
    assert (view["status"], view["segments_done"]) == ("completed", 6)
    assert view["process_time"] < 2 * 6 * 0.1 + 1, "what was spoken was not spoken again"
    assert [file.name for file in (live.outputs / "out").iterdir()] == [f"{task_id}.wav"]


def test_a_second_signal_ends_it_at_once(make_daemon):
    live = make_daemon(engine={"options": {"hang_on": "HANG"}}).start()
    live.reaches(live.submit("HANG"), "processing")
    engine = live.engine_pid()
    os.kill(live.pid, signal.SIGTERM)
    until(lambda: "stopping" in live.log.read_text(), "the first signal")
    assert live.stop(signal.SIGINT) == 1
    until(lambda: is_gone(engine), "the engine's end")


def test_a_room_that_breaks_ends_the_daemon(make_daemon):
    live = make_daemon().start()
    with contextlib.closing(sqlite3.connect(live.folder / "state" / "indexttsd.db")) as ledger, ledger:
        ledger.execute("DROP TABLE speeches")
    live.post("/api/tts/tasks", {"text": "x", "output_path": "out"})
    until(lambda: is_gone(live.pid) or not live.drop("x.json", {"text": "x"}), "its end")
    assert live.stop() == 1
    assert "CRITICAL indexttsd: the " in live.log.read_text()
