"""What the tests that break a running daemon share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The soak lasts longest: begun first, it keeps one process busy while another does the rest."""
    items.sort(key=lambda item: "test_soak" not in item.nodeid)


@pytest.fixture(scope="session")
def scale() -> int:
    """How many times as much is broken as in the quick form; `make soak` sets it."""
    return int(os.environ.get("INDEXTTSD_SOAK", "1"))


@pytest.fixture
def soak_folder(tmp_path: Path) -> Path:
    """Where the soak leaves its table and its picture; `make soak` sets it."""
    return Path(os.environ.get("INDEXTTSD_SOAK_FOLDER", tmp_path / "soak")).absolute()
