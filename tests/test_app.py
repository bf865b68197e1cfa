"""The whole daemon: start, stop, restart, its log, its size, and what it does not start with."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daemon import config
from daemon.app import App
from daemon.errors import ConfigError, LedgerUnavailable
from daemon.store import Store
from tests.live import PATIENCE, LiveDaemon, until, wav_facts
from tests.manager import Manager


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


def test_a_second_daemon_on_one_inbox_is_refused_with_exit_78_and_one_line(daemon, tmp_path):
    other = LiveDaemon(tmp_path / "other")
    other.write_config(paths={"inbox": str(daemon.inbox)})
    command = [sys.executable, "-m", "daemon", "serve", "--config", str(other.config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr == f"indexttsd: another indexttsd is using the inbox {daemon.inbox}; " + (
        "stop it, or configure another folder\n"
    )


def test_a_start_that_the_inbox_refuses_leaves_no_socket_and_no_open_ledger(daemon, tmp_path):
    other = LiveDaemon(tmp_path / "other")
    door = tmp_path / "other.sock"
    other.write_config(paths={"inbox": str(daemon.inbox)}, server={"unix_socket": str(door)})
    assert other.spawn().stop(0) == 78
    assert f"is using the inbox {daemon.inbox}" in other.log.read_text()
    assert not door.exists()
    ledger = other.folder / "state" / "indexttsd.db"
    assert (ledger.exists(), ledger.with_name("indexttsd.db-wal").exists()) == (True, False)


@pytest.mark.parametrize("section", ["paths", "server"])
def test_a_second_daemon_on_one_state_or_port_is_refused(daemon, tmp_path, section):
    other = LiveDaemon(tmp_path / "other")
    mine = {"paths": {"state": str(daemon.folder / "state")}, "server": {"port": daemon.port}}
    other.write_config(**{section: mine[section]})
    with pytest.raises(ConfigError, match=r"another indexttsd is using the state folder|'server.port': cannot listen"):
        App(config.load(other.config))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"server": {"host": "0.0.0.0"}}, "line 6: server.host 0.0.0.0 is reachable from other machines"),
        ({"server": {"host": "::"}}, "line 6: server.host :: is reachable from other machines"),
        ({"server": {"host": "a..b"}}, "line 6: server.host 'a..b' is no address of this machine"),
        ({"engine": {"name": "indextts-2"}}, "line 1: 'engine.model_dir': must name a folder for IndexTTS 2's weights"),
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


def test_a_start_that_waits_for_its_disk_leaves_nothing_behind_by_each_try(tmp_path, monkeypatch):
    live = LiveDaemon(tmp_path / "daemon")
    live.write_config()

    def full(_store):
        raise LedgerUnavailable("its disk is full")

    monkeypatch.setattr(Store, "recover", full)
    left = []
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            App(config.load(live.config))
        left.append((threading.active_count(), len([*Path("/proc/self/fd").iterdir()])))
    (threads, files), (more_threads, more_files) = left[0], left[-1]
    assert more_threads <= threads, left  # fewer there may be: what other tests left behind ends meanwhile
    assert more_files <= files, left


# Stopping


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A daemon that the tests below end one after the other."""
    live = LiveDaemon(tmp_path_factory.mktemp("mortal"), engine={"options": {"delay_seconds": 0.05, "hang_on": "HANG"}})
    yield live
    live.close()


@pytest.fixture
def mortal(shared):
    """The same, running."""
    return shared.running()


def test_tasks_waiting_and_in_work_are_finished_after_a_clean_stop(mortal):
    ids = [mortal.submit("One. Two. Three. Four. Five. Six. Seven. Eight.") for _ in range(2)]
    until(lambda: mortal.view(ids[0])["segments_done"], "the first segment")
    assert mortal.stop(signal.SIGTERM) == 0
    assert "Traceback" not in mortal.log.read_text()
    mortal.start()
    assert [mortal.ended(task_id)["status"] for task_id in ids] == ["completed"] * 2


def test_a_killed_daemon_takes_its_engine_along_and_its_work_goes_on(mortal):
    task_id = mortal.submit("One. Two. Three. Four. Five. Six. Seven. Eight.", output_path="killed")
    until(lambda: mortal.view(task_id)["segments_done"] >= 2, "two segments")
    engine = mortal.engine_pid()
    assert engine
    assert os.getsid(engine) != os.getsid(mortal.pid), "a Ctrl-C in the terminal does not reach it"
    mortal.stop(signal.SIGKILL)
    until(lambda: is_gone(engine), "the engine's end")
    mortal.start()
    view = mortal.ended(task_id)
    assert (view["status"], view["segments_done"]) == ("completed", 8)
    assert [file.name for file in (mortal.outputs / "killed").iterdir()] == [f"{task_id}.wav"]


def test_a_second_signal_ends_it_at_once(mortal):
    mortal.reaches(mortal.submit("HANG"), "processing")
    engine = mortal.engine_pid()
    lines = mortal.log.read_text().count("stopping;")
    os.kill(mortal.pid, signal.SIGTERM)
    until(lambda: mortal.log.read_text().count("stopping;") > lines, "the first signal")
    assert mortal.stop(signal.SIGINT) == 1
    until(lambda: is_gone(engine), "the engine's end")


def test_a_room_that_breaks_ends_the_daemon_and_systemd_hears_of_it(shared, tmp_path, monkeypatch):
    shared.stop()
    with Manager(tmp_path) as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.place))
        shared.start(ready=False)
        systemd.hears("READY=1")
        with contextlib.closing(sqlite3.connect(shared.folder / "state" / "indexttsd.db")) as ledger, ledger:
            ledger.execute("DROP TABLE speeches")
        until(lambda: is_gone(shared.pid) or not shared.drop("x.json", {"text": "x"}), "its end")
        assert shared.stop() == 1
        systemd.hears("STOPPING=1")
    assert "CRITICAL indexttsd: the " in shared.log.read_text()
