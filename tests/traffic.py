"""Clients of a daemon that is being broken: they post and drop, and remember what they were promised."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any, Self

import pytest

from tests.live import Answer, LiveDaemon, until, wav_facts

#: Two segments, and how long they sound with the tone engine. Seconds.
TEXT, SECONDS = "One two three. Four five six.", 1.55
#: How long a client waits after a refusal before it tries again. Seconds.
_BREATH = 0.2


class Traffic:
    """Posts from some threads and drops files from another until it is left.

    Args:
        pause: seconds between two requests of one client.

    Attributes:
        accepted: ids of the tasks whose POST was answered with 200.
        refused: the answers that asked to come again later. wrong: all other answers.
        cut: how many requests got no answer at all.
        dropped: names of the files that were moved into the inbox. kept_out: how many its disk did not take.
    """

    def __init__(self, daemon: LiveDaemon, *, posters: int = 2, pause: float = 0.1) -> None:
        self._daemon = daemon
        self._pause = pause
        self._stop = threading.Event()
        clients = [self._post] * posters + [self._drop]
        self._threads = [threading.Thread(target=self._until_stopped, args=(client,)) for client in clients]
        self._names = (f"drop-{number}" for number in itertools.count())
        self.accepted: list[str] = []
        self.refused: list[Answer] = []
        self.wrong: list[Answer] = []
        self.dropped: list[str] = []
        self.cut = self.kept_out = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _until_stopped(self, client: Any) -> None:
        while not self._stop.is_set():
            self._stop.wait(self._pause if client() else _BREATH)

    def _post(self) -> bool:
        try:
            answer = self._daemon.post("/api/tts/tasks", {"text": TEXT, "output_path": "posted"})
        except (OSError, http.client.HTTPException):
            self.cut += 1
            return False
        if answer.status == 200:
            self.accepted.append(answer.json["task_id"])
            return True
        (self.refused if answer.status in (429, 503) else self.wrong).append(answer)
        return False

    def _drop(self) -> bool:
        name = next(self._names)
        part = self._daemon.inbox / f"{name}.json.part"
        try:
            part.write_text(json.dumps({"text": TEXT}))
            part.rename(self._daemon.inbox / f"{name}.json")
        except OSError:
            self.kept_out += 1
            with contextlib.suppress(OSError):
                part.unlink()
            return False
        self.dropped.append(name)
        return True

    def check_all_is_kept(self) -> str:
        """Wait until all that was promised is there, whole and once; how much that was, in words.

        A request without a 200 may have become a task all the same: its client was told to ask again.
        """
        daemon, promised = self._daemon, set(self.accepted)
        assert not self.wrong, self.wrong[:3]
        for name in self.dropped:
            promised |= {view["task_id"] for view in daemon.note(f"done/{name}.json.result.json")}
        assert len(promised) == len(self.accepted) + len(self.dropped)
        there = {task_id for (task_id,) in task_ids(daemon)}
        assert promised <= there, "lost"
        assert len(there - promised) <= len(self.refused) + self.cut, "tasks that nobody asked for"
        views = [daemon.ended(task_id) for task_id in there]
        assert [view for view in views if view["status"] != "completed"] == []
        check_files(daemon, views)
        assert ledger(daemon, "PRAGMA integrity_check") == [("ok",)]
        until(lambda: not any((daemon.folder / "state/spool").iterdir()), "an empty spool")
        return f"{len(self.accepted)} posted and {len(self.dropped)} dropped tasks, 0 lost, 0 failed, 0 broken files"


def check_files(daemon: LiveDaemon, views: list[dict[str, Any]]) -> None:
    """Each task has its own file, whole; below outputs and beside the dropped files lies nothing else."""
    expected = sorted(view["output_file"] for view in views)
    assert sorted(str(file) for file in daemon.outputs.rglob("*") if file.is_file()) == expected
    assert len(set(expected)) == len(views)
    for file in expected:
        assert wav_facts(file)[3] == pytest.approx(SECONDS), file
    assert [file.name for file in daemon.inbox.rglob("*.part")] == []


def task_ids(daemon: LiveDaemon) -> list[tuple[str]]:
    """The ids of all its tasks; none of them is a batch."""
    return ledger(daemon, "SELECT printf('task_%d_%d', created_at, id - 1) FROM tasks")


def ledger(daemon: LiveDaemon, sql: str) -> list[tuple[Any, ...]]:
    """What a question finds in the daemon's ledger, which is not touched."""
    file = Path(daemon.folder, "state/indexttsd.db")
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()
