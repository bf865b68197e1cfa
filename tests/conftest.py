"""Fixtures: real daemons on folders of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
