"""Who is late, and who is not."""

from __future__ import annotations

import pytest

from daemon import life
from daemon.life import Life
from tests.live import until


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch):
    monkeypatch.setattr(life, "GRACE", 0.0)


def test_who_breaks_its_promise_is_late_until_it_is_heard_from_again():
    rooms = Life()
    rooms.of("inbox").within(0.01)
    rooms.of("worker").within(1000)
    until(lambda: rooms.late() == ["inbox"], "the inbox")
    rooms.of("inbox").within(1000)
    assert rooms.late() == []


def test_who_has_promised_nothing_or_has_ended_is_never_late():
    rooms = Life()
    rooms.of("http")
    rooms.of("worker").within(-1)
    assert rooms.late() == ["worker"]
    rooms.of("worker").over()
    assert rooms.late() == []


def test_the_grace_comes_on_top_of_what_was_promised(monkeypatch):
    rooms = Life()
    monkeypatch.setattr(life, "GRACE", 1000.0)
    rooms.of("worker").within(-500)
    assert rooms.late() == []
    rooms.of("worker").within(-1001)
    assert rooms.late() == ["worker"]
