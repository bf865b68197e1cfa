"""Where the daemon listens: nothing that strangers reach without a token, and one owner for each place."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import config, tokens
from daemon.api import adopt, handed_over, leave, listen, shown
from daemon.app import App
from daemon.cli.client import _OnFile
from daemon.config import ServerConfig
from daemon.errors import ConfigError, InUse, LedgerUnavailable
from daemon.store import Store
from tests.live import PATIENCE, LiveDaemon, free_port, until


def reachable(address) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as caller:
        return caller.connect_ex(address) == 0


# Addresses


def resolving_to(monkeypatch, *addresses):
    """The machine's resolver knows these addresses for any name."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: found)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "0", "::ffff:10.0.0.1"])
def test_what_strangers_reach_is_refused_without_a_token(host):
    with pytest.raises(ConfigError, match=r"server.host .* is reachable from other machines.*`indexttsd token new`"):
        listen(ServerConfig(host=host, port=0), guarded=False)


def test_a_name_of_several_addresses_is_loopback_only_if_all_are(monkeypatch):
    resolving_to(monkeypatch, "127.0.0.1", "192.0.2.1")
    with pytest.raises(ConfigError, match="reachable from other machines"):
        listen(ServerConfig(host="both.example", port=0), guarded=False)
    resolving_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    listen(ServerConfig(host="own.example", port=0), guarded=False).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost"])
def test_loopback_needs_none(host):
    with listen(ServerConfig(host=host, port=0), guarded=False) as listener:
        assert reachable(listener.getsockname())
        assert shown(listener).startswith("http://127.")


def test_everywhere_is_listened_on_with_a_token():
    with listen(ServerConfig(host="0.0.0.0", port=0), guarded=True) as listener:
        assert reachable(("127.0.0.1", listener.getsockname()[1]))


def test_loopback_of_ipv6_is_listened_on():
    try:
        listener = listen(ServerConfig(host="::1", port=0), guarded=False)
    except ConfigError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with listener, socket.create_connection(listener.getsockname()[:2], timeout=PATIENCE):
        assert shown(listener).startswith("http://[::1]:")


def test_a_taken_port_and_a_foreign_address_are_sentences():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1 port {port}: Address already in use; is a daemon running"):
            listen(ServerConfig(port=port), guarded=False)
    with pytest.raises(ConfigError, match=r"server.host 192.0.2.1 port 0: Cannot assign requested address"):
        listen(ServerConfig(host="192.0.2.1", port=0), guarded=True)


def serve(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "daemon", "serve", "--config", str(file)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip


@pytest.mark.parametrize("held", [None, ""], ids=["no file of tokens", "one that holds none"])
def test_a_daemon_that_strangers_reach_does_not_start_without_a_token(tmp_path, held):
    live = LiveDaemon(tmp_path / "d", server={"host": "0.0.0.0"})
    if held is not None:
        (live.folder / "tokens").write_text(held)
    ended = serve(live.config)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.startswith(f"indexttsd: {live.config}, line 6: server.host 0.0.0.0 is reachable")
    assert "indexttsd token new" in ended.stderr
    assert not (live.folder / "state").exists(), "nothing was made"


def test_with_a_token_it_starts_and_lets_nobody_in_without(make_daemon):
    live = make_daemon(server={"host": "0.0.0.0"})
    _, secret = tokens.create(live.folder / "tokens")
    live.start(ready=False)
    assert live.get("/api/tts/stats").status == 401
    assert live.get("/api/tts/stats", Authorization=f"Bearer {secret}").status == 200


# A socket file


@pytest.fixture
def on_file(tmp_path):
    """A configuration that listens on a socket file."""
    return ServerConfig(unix_socket=tmp_path / "http.sock")


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_only_owner_and_group_may_use_the_socket_whatever_the_umask(on_file, mask):
    before = os.umask(mask)
    try:
        listener = listen(on_file, guarded=False)
    finally:
        os.umask(before)
    with listener:
        assert stat.S_IMODE(on_file.unix_socket.stat().st_mode) == 0o660
        assert shown(listener) == f"the socket {on_file.unix_socket}"
        assert reachable(str(on_file.unix_socket))
        leave(on_file)
    assert not on_file.unix_socket.exists()


def test_nobody_gets_in_before_the_mode_is_set(on_file, monkeypatch):
    """The kernel refuses whoever comes between bind and listen, when the file has the umask's mode."""
    tried = []
    chmod = Path.chmod

    def watched(file, mode):
        tried.append(reachable(str(file)))
        chmod(file, mode)
        tried.append(reachable(str(file)))

    monkeypatch.setattr(Path, "chmod", watched)
    with listen(on_file, guarded=False):
        assert tried == [False, False]
        assert reachable(str(on_file.unix_socket))


def test_what_a_killed_daemon_left_is_replaced(on_file):
    listen(on_file, guarded=False).close()
    assert on_file.unix_socket.exists()
    with listen(on_file, guarded=False):
        assert reachable(str(on_file.unix_socket))


@pytest.mark.parametrize("backlog", [1024, 0], ids=["idle", "full"])
def test_a_socket_that_somebody_listens_on_is_left_alone(on_file, backlog):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(on_file.unix_socket))
        other.listen(backlog)
        callers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(str(on_file.unix_socket))
        with pytest.raises(InUse, match="somebody listens there already"):
            listen(on_file, guarded=False)
        for caller in callers:
            caller.close()
        assert on_file.unix_socket.exists()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda file: file.symlink_to("/nowhere"), os.mkfifo])
def test_anything_else_of_that_name_is_left_alone(on_file, make):
    make(on_file.unix_socket)
    with pytest.raises(ConfigError, match="is there already, and it is no socket; remove it"):
        listen(on_file, guarded=False)
    assert os.path.lexists(on_file.unix_socket)


def test_a_missing_folder_and_a_long_name_are_sentences(tmp_path):
    with pytest.raises(ConfigError, match=f"server.unix_socket .* there is no folder {tmp_path / 'none'}; make it"):
        listen(ServerConfig(unix_socket=tmp_path / "none" / "sock"), guarded=False)
    (tmp_path / "n").mkdir()
    room = 107 - len(os.fsencode(tmp_path / "n")) - 1
    with listen(ServerConfig(unix_socket=tmp_path / "n" / ("x" * room)), guarded=False):
        pass
    with pytest.raises(ConfigError, match="has 108 bytes, and the name of a socket may have 107"):
        listen(ServerConfig(unix_socket=tmp_path / "n" / ("x" * (room + 1))), guarded=False)


class OnFile(LiveDaemon):
    """A daemon on a socket file."""

    def __init__(self, folder: Path, **settings) -> None:
        super().__init__(folder, **settings)
        self.file = folder / "http.sock"

    def connection(self) -> http.client.HTTPConnection:
        return _OnFile(self.file)


@pytest.fixture
def live_on_file(tmp_path):
    """One such daemon, not started."""
    live = OnFile(tmp_path / "d", server={"unix_socket": "http.sock"})
    yield live
    live.close()


def command(live: LiveDaemon, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "daemon", *words, "--config", str(live.config)],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | environment,
    )  # fmt: skip


def test_a_daemon_on_a_file_is_spoken_to_by_the_commands_and_takes_the_file_along(live_on_file):
    live = live_on_file.start()
    assert not reachable(("127.0.0.1", live.port))
    assert f"listening on the socket {live.file}" in live.log.read_text()
    listed = command(live, "tasks", "--json")
    assert (listed.returncode, json.loads(listed.stdout)["tasks"]) == (0, [])
    assert live.ended(live.submit())["status"] == "completed"
    other = LiveDaemon(live.folder.parent / "other", server={"unix_socket": str(live.file)})
    refused = serve(other.config)
    assert (refused.returncode, "line 7: cannot listen on server.unix_socket" in refused.stderr) == (78, True), (
        refused.stderr
    )
    assert live.get("/health").status == 200
    assert live.stop() == 0
    assert not live.file.exists()
    assert command(live, "tasks").returncode == 69


def test_a_killed_daemon_on_a_file_starts_again(live_on_file):
    live = live_on_file.start(ready=False)
    live.stop(signal.SIGKILL)
    assert live.file.exists()
    assert live.start(ready=False).get("/health").status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights")
def test_who_is_not_in_the_group_is_told_so(live_on_file):
    live = live_on_file
    for folder in (live.folder, *live.folder.parents[:-2]):
        folder.chmod(0o755)
    code = (
        "import os, sys; from daemon import config; from daemon.cli.client import Client; import daemon.__main__ as m\n"
        "server = config.load(__import__('pathlib').Path(sys.argv[1])).server\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: Client(server).tasks(None, 1)\n"
        "except Exception as error: print(m.exit_code(error), error)"
    )
    with listen(config.load(live.config).server, guarded=False):
        ended = subprocess.run(
            [sys.executable, "-c", code, str(live.config)], capture_output=True, text=True, check=False
        )
    assert ended.stdout.startswith(f"69 you may not use {live.file}; who is in the group"), ended.stderr


# Handed over


@pytest.fixture
def handed():
    """A listening socket as systemd hands it over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_socket_handed_over_outlives_a_start_that_waits(tmp_path, handed, monkeypatch):
    live = LiveDaemon(tmp_path / "d")

    def full(_store):
        raise LedgerUnavailable("its disk is full")

    monkeypatch.setattr(Store, "recover", full)
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            App(config.load(live.config), handed)
        assert reachable(handed.getsockname())
    assert not reachable(("127.0.0.1", live.port))


def test_a_socket_unit_on_a_foreign_address_needs_a_token():
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        with pytest.raises(ConfigError, match=r"the socket unit's address 0.0.0.0 is reachable from other machines"):
            adopt(everywhere, guarded=False)
        adopt(everywhere, guarded=True).close()


def test_what_was_meant_for_another_process_or_is_nothing_is_not_taken(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert handed_over() is None
    assert "LISTEN_FDS" not in os.environ


def test_more_than_one_socket_is_refused(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    with pytest.raises(ConfigError, match="handed over 2 sockets; a socket unit with one ListenStream="):
        handed_over()


def sockets(pid) -> set[str]:
    links = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.append(str(file.readlink()))
    return {link for link in links if link.startswith("socket:")}


@pytest.mark.parametrize("kind", ["address", "file"])
def test_a_daemon_answers_on_the_socket_it_was_handed_and_its_engine_never_sees_it(tmp_path, kind):
    file, port = tmp_path / "handed.sock", free_port()
    live = (OnFile if kind == "file" else LiveDaemon)(tmp_path / "d", server={"host": "0.0.0.0", "port": free_port()})
    live.file, live.port, configured = file, port, config.load(live.config).server.port
    try:
        live.spawn("tests.handover", str(file if kind == "file" else port))
        until(lambda: live._answers("/ready"), "the daemon")
        assert (
            "systemd handed over the socket: server.host, port and unix_socket are not heeded" in live.log.read_text()
        )
        assert not reachable(("127.0.0.1", configured))
        engine = live.engine_pid()
        assert sockets(live.pid)
        assert not sockets(live.pid) & sockets(engine)
        assert b"LISTEN_" not in Path(f"/proc/{engine}/environ").read_bytes()
        assert live.stop() == 0
        assert file.exists() == (kind == "file"), "it is systemd's"
    finally:
        live.close()


def test_a_refused_hand_over_is_exit_78(tmp_path):
    live = LiveDaemon(tmp_path / "d")
    code = "import os, sys; os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'}; os.closerange(3, 9)\n"
    code += "os.dup2(0, 3); os.execv(sys.executable, [sys.executable, '-m', 'daemon', *sys.argv[1:]])"
    ended = subprocess.run(
        [sys.executable, "-c", code, "serve", "--config", str(live.config)], capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL, timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert ended.returncode == 78
    assert os.strerror(errno.ENOTSOCK) in ended.stderr
