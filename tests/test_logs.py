"""Log lines cannot be forged by what they tell of."""

from __future__ import annotations

import logging
import threading

import pytest

from daemon import logs

log = logging.getLogger("indexttsd.test")

SAID = "no letter of SECRET can be spoken"


@pytest.fixture(autouse=True)
def daemons_log():
    """The daemon's log for one test; pytest's own handlers come back after it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    hook = threading.excepthook
    yield
    threading.excepthook = hook
    logs._texts = False
    root.handlers[:], level = before
    root.setLevel(level)


def test_a_message_with_line_breaks_stays_one_line(capsys):
    logs.set_up("info")
    log.info("%s was refused", "x\n2026-01-01 INFO forged\x1b[2K\ud800")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_traceback_is_indented_and_its_message_escaped(capsys):
    logs.set_up("info", texts=True)
    try:
        raise RuntimeError("one\rtwo")
    except RuntimeError:
        log.exception("it broke")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("it broke")
    assert all(line.startswith("  ") for line in rest)
    assert "one\\rtwo" in rest[-1]


def broken(error: Exception) -> None:
    """Log a traceback of that error, caused by another and met with a third."""
    try:
        try:
            raise ValueError(SAID)
        except ValueError as cause:
            raise error from cause
    except Exception:
        log.exception("it broke")


def test_a_traceback_shows_where_and_what_but_no_words_that_may_quote_a_text(capsys):
    logs.set_up("info")
    broken(RuntimeError(SAID))
    told = capsys.readouterr().err
    assert "SECRET" not in told
    assert "  ValueError\n" in told
    assert told.endswith("  RuntimeError\n")
    assert "test_logs.py" in told


def test_what_the_machine_says_is_shown_in_a_traceback(capsys):
    logs.set_up("info")
    broken(OSError(28, "No space left on device"))
    assert capsys.readouterr().err.endswith("  OSError: [Errno 28] No space left on device\n")


def test_causes_that_turn_in_a_circle_end(capsys):
    logs.set_up("info")
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    log.error("it broke", exc_info=one)
    assert capsys.readouterr().err.count("RuntimeError") == 2


def test_a_thread_that_breaks_is_logged_like_all_else(capsys):
    logs.set_up("info")
    thread = threading.Thread(target=lambda: int(SAID), name="of a library")
    thread.start()
    thread.join()
    told = capsys.readouterr().err
    assert "CRITICAL indexttsd: the thread of a library broke" in told
    assert "SECRET" not in told


def test_chinese_is_shown_as_it_is(capsys):
    logs.set_up("info")
    log.info("%s", "第一章.json")
    assert "第一章.json" in capsys.readouterr().err


def test_what_is_below_the_level_is_not_shown(capsys):
    logs.set_up("warning")
    log.info("quiet")
    assert capsys.readouterr().err == ""
