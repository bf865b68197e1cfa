"""Why the daemon waits: who tells, what is shown, what the log hears."""

from __future__ import annotations

from daemon.troubles import Troubles


def test_each_reason_is_shown_once_until_it_is_over():
    troubles = Troubles()
    troubles.tell("worker", "the disk is full")
    troubles.tell("inbox", "the disk is full")
    troubles.tell("inbox", "it is gone")
    assert troubles.sentences() == ["the disk is full", "it is gone"]
    troubles.over("worker")
    troubles.over("worker")
    assert troubles.sentences() == ["it is gone"]


def test_the_log_hears_of_changes_only(caplog):
    caplog.set_level("INFO")
    troubles = Troubles()
    for _ in range(3):
        troubles.tell("worker", "the disk is full")
    troubles.over("worker")
    troubles.over("worker")
    assert [record.message for record in caplog.records] == [
        "the worker waits: the disk is full",
        "the worker goes on",
    ]
