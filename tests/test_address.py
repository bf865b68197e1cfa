"""What a configuration says about the HTTP door, and what clients make of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import address, config, tokens
from daemon.api import listen
from daemon.config import ServerConfig
from daemon.errors import ConfigError
from tests.live import PATIENCE, LiveDaemon, free_port


@pytest.fixture
def configured(tmp_path):
    """A configuration of these keys of the section server."""

    def make(**server):
        file = tmp_path / "config.yaml"
        file.write_text(f"server: {json.dumps(server)}\n")
        return config.load(file)

    return make


def test_the_tokens_of_the_file_and_of_systemd_count(configured, tmp_path, monkeypatch):
    settings = configured()
    assert not address.tokens(settings).needed
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert not address.tokens(settings).needed
    tokens.create(tmp_path / "credentials" / "indexttsd-tokens")
    assert len(address.tokens(settings)) == 1
    tokens.create(tmp_path / "tokens", "mine")
    assert len(address.tokens(settings)) == 2


@pytest.mark.parametrize(
    ("server", "place"),
    [
        ({}, "http://127.0.0.1:51046"),
        ({"host": "::1", "port": 1}, "http://[::1]:1"),
        ({"unix_socket": "/run/x.sock"}, "the socket /run/x.sock"),
    ],
)
def test_the_place_is_shown_for_people(configured, server, place):
    assert address.shown(configured(**server)) == place


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        ({"port": 0, "host": "0.0.0.0"}, "line 1: server.host 0.0.0.0 is reachable"),
        ({"unix_socket": "/" + "x" * 120}, "line 1: server.unix_socket /xxx"),
    ],
)
def test_a_wrong_place_is_named_with_file_line_and_key(configured, tmp_path, server, sentence):
    settings = configured(**server)
    with pytest.raises(ConfigError) as refused:
        address.look(settings)
    assert str(refused.value).startswith(f"{tmp_path / 'config.yaml'}, {sentence}")
    with pytest.raises(ConfigError) as refused:
        address.listener(settings, address.tokens(settings), None)
    assert str(refused.value).startswith(f"{tmp_path / 'config.yaml'}, {sentence}")


@pytest.mark.parametrize("key", ["unix_socket", "tokens_file"])
@pytest.mark.parametrize(
    ("place", "where"),
    [
        ("inbox/x", "the inbox may not hold server."),
        ("inbox/deep/x", "the inbox may not hold server."),
        ("outputs/x", "may not contain server."),
        ("link/x", "may not contain server."),
    ],
)
def test_neither_the_socket_nor_the_tokens_may_lie_where_others_write(configured, tmp_path, key, place, where):
    (tmp_path / "outputs").mkdir()
    (tmp_path / "link").symlink_to("outputs")
    with pytest.raises(ConfigError) as refused:
        configured(**{key: place})
    assert f"{where}{key}" in str(refused.value)


def test_a_link_in_a_root_that_leads_out_of_it_is_refused_too(configured, tmp_path):
    (tmp_path / "outputs").mkdir()
    (tmp_path / "elsewhere").touch()
    (tmp_path / "outputs" / "tokens").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"may not contain server.tokens_file"):
        configured(tokens_file="outputs/tokens")


# Clients


def command(live: LiveDaemon, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, "-m", "daemon", *words, "--config", str(live.config)],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | environment,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    return ended


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A daemon that listens everywhere, and its one token."""
    live = LiveDaemon(tmp_path_factory.mktemp("guarded"), server={"host": "0.0.0.0"})
    _, live.secret = tokens.create(live.folder / "tokens")
    yield live.start(ready=False)
    live.close()


def test_a_command_sends_the_token_it_finds_to_a_daemon_that_listens_everywhere(guarded, tmp_path):
    (tmp_path / "mine").write_text(f"{guarded.secret}\n")
    assert command(guarded, "tasks", INDEXTTSD_TOKEN=guarded.secret).returncode == 0
    assert command(guarded, "tasks", INDEXTTSD_TOKEN_FILE=str(tmp_path / "mine")).returncode == 0
    both = command(guarded, "tasks", INDEXTTSD_TOKEN=guarded.secret, INDEXTTSD_TOKEN_FILE="/none")
    assert both.returncode == 0


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "the daemon wants a token; put the one you were given into the variable INDEXTTSD_TOKEN"),
        ({"INDEXTTSD_TOKEN": "wrong"}, "the daemon does not know the token in INDEXTTSD_TOKEN"),
        ({"INDEXTTSD_TOKEN": "a\nb"}, "it has signs no token has"),
        ({"INDEXTTSD_TOKEN": "é"}, "it has signs no token has"),
        ({"INDEXTTSD_TOKEN_FILE": "/none"}, "INDEXTTSD_TOKEN_FILE /none cannot be read: No such file"),
        ({"INDEXTTSD_TOKEN_FILE": "/"}, "INDEXTTSD_TOKEN_FILE / cannot be read: Is a directory"),
    ],
    ids=["none", "wrong", "two lines", "no ASCII", "no file", "a folder"],
)
def test_who_is_not_let_in_is_told_what_to_do(guarded, environment, sentence):
    ended = command(guarded, "tasks", **environment)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert sentence in ended.stderr


def test_check_tells_whether_a_token_is_needed(guarded):
    said = command(guarded, "check", "--config-only").stdout
    assert "HTTP door: http://0.0.0.0:" in said
    assert "every request needs a token, of which there are 1" in said


def test_a_name_of_loopback_is_listened_on_and_called(tmp_path):
    port = free_port()
    with listen(ServerConfig(host="localhost", port=port), guarded=False) as listener:
        assert socket.create_connection(("localhost", port), timeout=PATIENCE).close() is None
        assert listener.getsockname()[1] == port
