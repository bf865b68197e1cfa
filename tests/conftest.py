"""Fixtures: real daemons on folders of their own, and real ledgers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.store import Store, database
from tests.live import LiveDaemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    """A running daemon with the tone engine, shared by a module's tests."""
    live = LiveDaemon(tmp_path_factory.mktemp("daemon")).start()
    yield live
    live.close()


@pytest.fixture
def make_daemon(tmp_path: Any) -> Iterator[Callable[..., LiveDaemon]]:
    """Makes daemons of a test's own, not started: `make_daemon(engine={"options": {"delay_seconds": 1}}).start()`."""
    made: list[LiveDaemon] = []

    def make(name: str = "daemon", **settings: dict[str, Any]) -> LiveDaemon:
        made.append(LiveDaemon(tmp_path / name, **settings))
        return made[-1]

    yield make
    for live in made:
        live.close()
        print(live.log.read_text(errors="replace")[-5000:] if live.log.exists() else "")  # shown if the test failed


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated ledger without tasks, to copy: the migrations take a process of their own."""
    file = tmp_path_factory.mktemp("ledger") / "indexttsd.db"
    database.prepare(file)
    return file


@pytest.fixture
def ledger_file(tmp_path: Path, empty_ledger: Path) -> Path:
    """A test's own ledger, without tasks."""
    return Path(shutil.copy(empty_ledger, tmp_path / "indexttsd.db"))


@pytest.fixture
def store(ledger_file: Path) -> Iterator[Store]:
    """A test's own ledger, open."""
    opened = Store(ledger_file)
    yield opened
    opened.close()
