"""The watchdog is fed while every room lives, and only then: real daemons, and a socket in systemd's place."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path

import pytest

from tests.live import until
from tests.manager import Manager
from tests.reliability.hanging import GRACE, PLACES

pytestmark = pytest.mark.reliability

#: How often the daemon is to be heard: it feeds four times as often. Seconds.
WATCHDOG = 1.0
#: So many meals take longer than the grace.
MANY = round(2 * GRACE / (WATCHDOG / 4))


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", str(round(WATCHDOG * 1_000_000)))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with Manager(tmp_path) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", str(manager.place))
        yield manager


def starves(systemd):
    """Whether it is not fed for as long as three meals take."""
    return systemd.hears_nothing_for(3 * WATCHDOG / 4)


def started(make_daemon, systemd, room="", **settings):
    """A daemon that is being fed on."""
    daemon = make_daemon(**settings).spawn("tests.reliability.hanging", room)
    systemd.hears("READY=1")
    systemd.hears("WATCHDOG=1")
    return daemon


def occupy(daemon, method, path, count):
    """Requests that nobody answers while the threads hang."""

    def ask():
        with contextlib.suppress(OSError):
            daemon.ask(method, path, {})

    for _ in range(count):
        threading.Thread(target=ask, daemon=True).start()


def said(daemon):
    return daemon.log.read_text(errors="replace")


@pytest.mark.parametrize("room", ["inbox", "worker", "HTTP loop"])
def test_who_hangs_is_named_and_the_watchdog_starves(make_daemon, systemd, room, tell):
    daemon = started(make_daemon, systemd, room)
    (daemon.folder / "hang").touch()
    if room == "inbox":
        daemon.drop("x.json", b"{}")
    assert f"STATUS=no sign of life comes from the {room}" in systemd.hears("STATUS=no sign")
    assert starves(systemd)
    assert said(daemon).count("no sign of life") == 1
    tell(f"the {room} hung: {said(daemon).splitlines()[-1].partition('ERROR ')[2]}")


@pytest.mark.parametrize(("method", "crew"), [("GET", "that read"), ("POST", "that change")])
def test_threads_that_all_hang_are_named_and_a_single_one_is_not(make_daemon, systemd, method, crew):
    daemon = started(make_daemon, systemd, "HTTP threads")
    (daemon.folder / "hang").touch()
    occupy(daemon, method, "/api/tts/tasks", 3)
    for _ in range(MANY):
        systemd.hears("WATCHDOG=1")
    assert "no sign of life" not in said(daemon)
    occupy(daemon, method, "/api/tts/tasks", 30)
    assert systemd.hears("STATUS=no sign").endswith(f"HTTP threads {crew}")
    assert starves(systemd)


def test_who_comes_back_is_fed_again(make_daemon, systemd):
    daemon = started(make_daemon, systemd, "worker")
    (daemon.folder / "hang").touch()
    systemd.hears("STATUS=no sign")
    assert "no sign of life comes from the worker" in daemon.get("/ready").body.decode()
    (daemon.folder / "hang").unlink()
    systemd.hears("WATCHDOG=1")
    systemd.hears("STATUS=doors open")
    until(lambda: daemon.get("/ready").status == 200, "ready")


def test_an_idle_daemon_is_fed_on(make_daemon, systemd):
    daemon = started(make_daemon, systemd)
    for _ in range(MANY):
        systemd.hears("WATCHDOG=1")
    assert "no sign of life" not in said(daemon)


def test_a_segment_and_a_load_that_last_longer_than_the_grace_are_no_hang(make_daemon, systemd):
    options = {"delay_seconds": 2 * GRACE, "load_seconds": 2 * GRACE}
    daemon = started(make_daemon, systemd, engine={"options": options})
    task = daemon.submit()
    for _ in range(2 * MANY):
        systemd.hears("WATCHDOG=1")
    assert daemon.ended(task)["status"] == "completed"
    assert "no sign of life" not in said(daemon)


def test_an_engine_that_hangs_is_the_hosts_to_end_and_not_the_watchdogs(make_daemon, systemd):
    engine, worker = {"options": {"hang_on": "SILENT"}}, {"segment_timeout": 2 * GRACE, "max_attempts": 1}
    daemon = started(make_daemon, systemd, engine=engine, worker=worker)
    assert daemon.ended(daemon.submit("SILENT."))["status"] == "failed"
    assert "no sign of life" not in said(daemon)


def test_the_signal_of_the_watchdog_ends_the_daemon_and_its_engine_and_shows_where_each_thread_was(
    make_daemon, systemd, tell
):
    daemon = started(make_daemon, systemd, engine={"options": {"hang_on": "SILENT"}})
    daemon.reaches(daemon.submit("SILENT."), "processing")
    engine = until(daemon.engine_pid, "the engine")
    assert daemon.stop(signal.SIGABRT) == -signal.SIGABRT
    until(lambda: is_gone(engine), "the engine's death")
    told = said(daemon)
    assert "Fatal Python error: Aborted" in told
    assert told.count("Thread 0x") > len(PLACES)
    assert "/daemon/worker/loop.py" in told
    tell(f"SIGABRT: ended by it, engine gone, {told.count('Thread 0x')} stacks in the log")


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
