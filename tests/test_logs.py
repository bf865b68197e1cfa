"""Log lines: one line each, whatever came from outside."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from daemon import logs


@pytest.fixture
def written(monkeypatch):
    """What is logged while the daemon's log is set up; pytest's own handlers come back afterwards."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    logs.set_up("info")
    return sys.stderr


def fail():
    raise ValueError("bad\x07\nforged")


def test_a_control_character_cannot_forge_a_line(written):
    logging.getLogger("indexttsd").info("%s", "name\x1b[31m\n2026 CRITICAL forged\r\u2028\ud800 你好")
    [line] = written.getvalue().splitlines()
    assert line.endswith("INFO    indexttsd: name\\x1b[31m\\n2026 CRITICAL forged\\r\\u2028\\ud800 你好")


def test_a_traceback_is_indented_and_escaped(written):
    try:
        fail()
    except ValueError:
        logging.getLogger("indexttsd").exception("it broke")
    head, *rest = written.getvalue().splitlines()
    assert head.endswith("ERROR   indexttsd: it broke")
    assert all(line.startswith("  ") for line in rest)
    assert "  ValueError: bad\\x07" in rest


def test_what_is_below_the_level_is_not_written(written):
    logging.getLogger("indexttsd").debug("whisper")
    assert written.getvalue() == ""
