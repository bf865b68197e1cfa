"""A reload: what takes effect at once, what waits for a restart, and that a wrong file changes nothing."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from daemon import changes, config, tokens
from daemon.app import App, serve
from daemon.errors import LedgerUnavailable
from tests.live import PATIENCE, LiveDaemon, until
from tests.manager import Manager

# What differs


def loaded(tmp_path, **settings):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(settings))
    return config.load(file)


def test_each_key_is_either_live_or_needs_a_restart(tmp_path):
    old = loaded(tmp_path)
    new = loaded(
        tmp_path,
        server={"hosts": ["a.example"], "cors_origins": ["https://a.example"], "port": 1},
        limits={"queue": 1},
        log={"level": "debug"},
        retention={"tasks_days": 1},
        prompts={"default": "x.wav"},
        worker={"max_attempts": 1},
        paths={"inbox": "elsewhere"},
    )
    found = changes.between(old, new)
    assert set(found.live) == {
        *("server.hosts", "server.cors_origins", "limits.queue", "log.level", "retention.tasks_days"),
        "prompts.default",
    }
    assert set(found.restart) == {"server.port", "worker.max_attempts", "paths.inbox"}


def test_all_keys_that_are_called_live_exist():
    keys = {f"{section}.{key}" for section, key in changes._keys(config.Config())}
    assert changes.LIVE - set(config.Config.model_fields) <= keys


def test_after_a_reload_the_live_keys_are_new_and_the_others_old(tmp_path):
    old, new = loaded(tmp_path), loaded(tmp_path, limits={"queue": 7}, server={"port": 1, "hosts": ["a.example"]})
    now = changes.in_force(old, new)
    assert (now.limits.queue, now.server.hosts, now.server.port) == (7, ["a.example"], 51046)
    assert now.file == old.file
    assert changes.between(now, new) == changes.Changes((), ("server.port",))


# A running daemon


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """The manager of the daemons that are started after it."""
    with Manager(tmp_path) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", str(manager.place))
        yield manager


@pytest.fixture
def live(systemd, make_daemon):
    """A daemon that listens to SIGHUP, ready."""
    return make_daemon(limits={"text_chars": 50}).start(ready=False)


def rewrite(live: LiveDaemon, text: str | None = None, **settings) -> None:
    """Put another configuration in the old one's place by a rename, as editors and administration tools do."""
    before = live.config.read_text()
    if text is None:
        live.write_config(**settings)
        text = live.config.read_text()
        live.config.write_text(before)
    new = live.folder / "config.yaml.new"
    new.write_text(text)
    new.rename(live.config)


def reload(live: LiveDaemon, systemd: Manager) -> tuple[list[str], str]:
    """What systemd hears of a reload, and what the log says."""
    before = len(live.log.read_text())
    os.kill(live.pid, signal.SIGHUP)
    told = [line for message in ("RELOADING=1", "READY=1") for line in systemd.hears(message).split("\n")]
    return told, live.log.read_text()[before:]


def refused(live: LiveDaemon, text: str = "x" * 60) -> int:
    return live.post("/api/tts/tasks", {"text": text, "output_path": "o"}).status


def test_a_reload_heeds_what_may_change_live_and_names_what_may_not(live, systemd):
    assert refused(live) == 400
    rewrite(
        live,
        limits={"text_chars": 100},
        server={"port": live.port, "hosts": ["tts.example"], "cors_origins": ["https://a.example"]},
        worker={"segment_timeout": 9},
        prompts={"default": "bob.wav"},
    )
    told, log = reload(live, systemd)
    assert told[0] == "RELOADING=1"
    stamp = next(line for line in told if line.startswith("MONOTONIC_USEC="))
    assert 0 <= time.monotonic_ns() // 1000 - int(stamp.partition("=")[2]) < PATIENCE * 1_000_000
    assert "STATUS=needs a restart: worker.segment_timeout" in told
    assert "reloaded: server.hosts, server.cors_origins, prompts.default, limits.text_chars\n" in log
    assert "needs a restart: worker.segment_timeout\n" in log
    assert refused(live) == 200
    assert live.get("/health", Host="tts.example").status == 200
    assert live.get("/health", Origin="https://a.example").headers["access-control-allow-origin"] == "https://a.example"
    assert live.view(live.submit())["prompt"] == "bob.wav"


def test_a_second_reload_tells_nothing_anew_but_what_still_waits_for_a_restart(live, systemd):
    rewrite(live, limits={"text_chars": 100}, worker={"max_attempts": 2})
    reload(live, systemd)
    told, log = reload(live, systemd)
    assert "reloaded: nothing new\n" in log
    assert "STATUS=needs a restart: worker.max_attempts" in told
    rewrite(live, limits={"text_chars": 100})
    told, log = reload(live, systemd)
    assert ("STATUS=doors open" in told, "needs a restart" in log) == (True, False)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("limits: {text_chars: 100}\nserver: {prot: 1}\n", "line 2: unknown key 'server.prot'"),
        ("limits: {text_chars: 100}\nengine: {name: indextts-2}\n", "'engine.model_dir'"),
        ("limits: {text_chars: 100}\nretention: {tasks_days: 2024-13-45}\n", "month must be in 1..12"),
        ("limits: {text_chars: 100}\nlog: {texts: !!bool 5}\n", "a value is none of its kind"),
        ("limits: {text_chars: 100", "not valid YAML"),
        ("\x00", "not valid YAML"),
    ],
    ids=["unknown key", "engine", "date", "bool", "broken", "NUL"],
)
def test_a_wrong_configuration_changes_nothing_at_all(live, systemd, text, sentence):
    _, secret = tokens.create(live.folder / "tokens")
    rewrite(live, text)
    told, log = reload(live, systemd)
    assert [line for line in told if line.startswith("STATUS=not reloaded: ")]
    assert "READY=1" in told
    assert "not reloaded, all stays as it was" in log
    assert sentence in log
    assert refused(live) == 400, "the old limit, and no token needed"
    rewrite(live, limits={"text_chars": 100})
    reload(live, systemd)
    assert refused(live) == 401
    assert live.get("/api/tts/tasks", Authorization=f"Bearer {secret}").status == 200


def test_a_reload_reaches_the_rooms_whose_work_nobody_sees_at_once(tmp_path, caplog):
    caplog.set_level(logging.WARNING)  # and as it was again afterwards
    live = LiveDaemon(tmp_path)
    app = App(config.load(live.config))
    threads = app._start()
    live.write_config(retention={"tasks_days": 3, "min_free_mb": 7}, log={"level": "error"})
    try:
        app.reload()
        assert (app._retention.config.tasks_days, app._space._min_free) == (3, 7 << 20)
        assert logging.getLogger().level == logging.ERROR
    finally:
        app._stop(threads)


def test_a_wrong_file_of_tokens_keeps_the_configuration_back_too(live, systemd):
    (live.folder / "tokens").write_text("nonsense\n")
    rewrite(live, limits={"text_chars": 100})
    told, log = reload(live, systemd)
    assert "line 1: not a token" in next(line for line in told if line.startswith("STATUS=not reloaded: "))
    assert "line 1: not a token" in log
    assert refused(live) == 400


def test_a_new_token_counts_a_revoked_one_does_not_and_a_lost_file_opens_nothing(live, systemd):
    file = live.folder / "tokens"
    secrets = [tokens.create(file)[1] for _ in range(2)]

    def known() -> list[int]:
        return [live.get("/api/tts/tasks", Authorization=f"Bearer {secret}").status for secret in secrets]

    assert live.get("/api/tts/tasks").status == 200, "before the reload"
    assert "reloaded: the tokens\n" in reload(live, systemd)[1]
    assert (live.get("/api/tts/tasks").status, known()) == (401, [200, 200])
    tokens.revoke(file, "token-1")
    assert known() == [200, 200], "before the reload"
    reload(live, systemd)
    assert known() == [401, 200]
    file.unlink()
    assert "nobody gets in" in reload(live, systemd)[1]
    assert (live.get("/api/tts/tasks").status, known()) == (401, [401, 401])
    assert live.get("/health").status == 200


def test_a_daemon_that_waits_for_its_disk_survives_a_call_for_a_reload_and_heeds_it(tmp_path, monkeypatch):
    """In this process, whose disk is never really full: what a handler of signals does is the kernel's business."""
    live = LiveDaemon(tmp_path / "d", limits={"text_chars": 50})
    recover, reload_, tries, reloads = App._recover, App.reload, [], []

    def full_at_first(app, *rooms):
        tries.append(1)
        if len(tries) == 1:
            os.kill(os.getpid(), signal.SIGHUP)
            raise LedgerUnavailable("its disk is full")
        recover(app, *rooms)

    def reloaded(app):
        reload_(app)
        reloads.append(1)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(App, "_recover", full_at_first)
    monkeypatch.setattr(App, "reload", reloaded)
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}
    try:
        assert serve(config.load(live.config)) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert (len(tries), reloads) == (2, [1])


def test_a_call_for_a_reload_at_any_moment_of_a_start_does_not_end_it(make_daemon):
    live = make_daemon()
    live.spawn()
    until(lambda: re.search(r"^SigIgn:\s*\w*[13579bdf]$", status(live.pid), re.MULTILINE), "the first line of serve")
    deadline = time.monotonic() + PATIENCE
    while not live.log.exists() or "listening on" not in live.log.read_text():
        assert time.monotonic() < deadline
        assert live.ended_with() is None, live.log.read_text()
        os.kill(live.pid, signal.SIGHUP)
    until(lambda: "reloaded: nothing new" in live.log.read_text(), "a reload")
    assert live.get("/health").status == 200


def status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


# Before a reload


def check(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, "-m", "daemon", "check", "--config-only", *words], cwd=folder, capture_output=True, text=True,
        check=False, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    return ended


def test_a_daemon_whose_terminal_is_closed_ends_and_one_whose_terminal_lives_reloads(make_daemon):
    """The same signal stands for both (SIGHUP)."""
    live = make_daemon()
    master, terminal = os.openpty()
    with live.log.open("wb") as log:
        command = [sys.executable, "-m", "tests.at_terminal", "serve", "--config", str(live.config)]
        daemon = subprocess.Popen(command, stdin=terminal, stdout=log, stderr=log, start_new_session=True)
    os.close(terminal)
    try:
        until(lambda: "listening on" in live.log.read_text(), "the doors")
        os.kill(daemon.pid, signal.SIGHUP)
        until(lambda: "reloaded: nothing new" in live.log.read_text(), "the reload")
        os.close(master)
        assert daemon.wait(PATIENCE) == 0
    finally:
        daemon.kill()
        daemon.wait()


def test_the_configuration_alone_is_checked_without_touching_a_folder(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    ended = check(tmp_path)
    assert (ended.returncode, [file.name for file in tmp_path.iterdir()]) == (0, ["config.yaml"])
    assert ended.stdout.splitlines() == [
        f"ok       configuration: {tmp_path / 'config.yaml'}",
        "ok       HTTP door: http://127.0.0.1:51046; whoever reaches it may ask, for there are no tokens, "
        + "unless systemd hands them over",
    ]


@pytest.mark.parametrize(
    ("text", "held", "sentence"),
    [
        ("limits: {queue: 0}", None, "line 1: 'limits.queue'"),
        ("", "nonsense", "line 1: not a token"),
        ("server: {host: no.such.host.invalid}", None, "line 1: server.host 'no.such.host.invalid' is no address"),
        ("output: {roots: [loop]}", None, "names a link that leads to itself"),
        (f"server: {{unix_socket: /{'x' * 200}}}", None, "may have 107"),
        ("engine: {name: indextts-2}", None, "'engine.model_dir'"),
        ("engine: {name: tone, options: {delay: 1}}", None, "unknown key 'delay'"),
    ],
    ids=["limit", "tokens", "no address", "loop", "long name", "engine", "option"],
)
def test_what_a_start_would_refuse_is_exit_78(tmp_path, text, held, sentence):
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "loop").symlink_to("loop")
    if held:
        (tmp_path / "tokens").write_text(held)
    ended = check(tmp_path)
    assert (ended.returncode, sentence in ended.stderr) == (78, True), ended.stderr


def test_what_only_a_token_of_systemds_would_allow_is_advice(tmp_path):
    """The command before a reload is not given the credentials of the service."""
    (tmp_path / "config.yaml").write_text("server: {host: 0.0.0.0}")
    ended = check(tmp_path)
    assert ended.returncode == 0
    assert "no daemon starts, unless systemd hands over a token: " in ended.stdout


def test_it_looks_at_no_files(tmp_path):
    assert check(tmp_path, "x.json").returncode == 2
