"""What the tests that break a running daemon share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def scale() -> int:
    """How many times as much is broken as in the quick form; `make soak` sets it."""
    return int(os.environ.get("INDEXTTSD_SOAK", "1"))
