"""Talking to systemd's socket."""

from __future__ import annotations

import logging
import socket

import pytest

from daemon.notify import notify
from tests.live import PATIENCE


@pytest.mark.parametrize("abstract", [False, True], ids=["a path", "an abstract name"])
def test_the_socket_that_systemd_named_gets_the_line(tmp_path, monkeypatch, abstract):
    name = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(PATIENCE)
        systemd.bind(name.replace("@", "\0", 1) if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1\nSTATUS=doors open")
        assert systemd.recv(100) == b"READY=1\nSTATUS=doors open"


@pytest.mark.parametrize("name", ["missing", "x" * 200], ids=["gone", "no address"])
def test_a_socket_that_nobody_reads_is_no_reason_to_end(tmp_path, monkeypatch, caplog, name):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / name))
    with caplog.at_level(logging.WARNING):
        notify("READY=1")
    assert "nobody listens" in caplog.text


def test_without_systemd_nothing_happens(monkeypatch, caplog):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    assert caplog.text == ""
