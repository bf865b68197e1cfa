"""Log lines cannot be forged by what they tell of."""

from __future__ import annotations

import logging

import pytest

from daemon import logs

log = logging.getLogger("indexttsd.test")


@pytest.fixture(autouse=True)
def daemons_log():
    """The daemon's log for one test; pytest's own handlers come back after it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)


def test_a_message_with_line_breaks_stays_one_line(capsys):
    logs.set_up("info")
    log.info("%s was refused", "x\n2026-01-01 INFO forged\x1b[2K\ud800")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_traceback_is_indented_and_its_message_escaped(capsys):
    logs.set_up("info")
    try:
        raise RuntimeError("one\rtwo")
    except RuntimeError:
        log.exception("it broke")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("it broke")
    assert all(line.startswith("  ") for line in rest)
    assert "one\\rtwo" in rest[-1]


def test_chinese_is_shown_as_it_is(capsys):
    logs.set_up("info")
    log.info("%s", "第一章.json")
    assert "第一章.json" in capsys.readouterr().err


def test_what_is_below_the_level_is_not_shown(capsys):
    logs.set_up("warning")
    log.info("quiet")
    assert capsys.readouterr().err == ""
