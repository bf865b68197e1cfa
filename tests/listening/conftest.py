"""Shows the listening scores at the end of a run."""

from __future__ import annotations

import pytest

SCORES: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture(scope="session")
def scores(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the table at the end."""
    return pytestconfig.stash.setdefault(SCORES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(SCORES, [])
    if lines:
        terminalreporter.section("listening scores")
        for line in lines:
            terminalreporter.write_line(line)
