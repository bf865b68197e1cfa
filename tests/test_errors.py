"""The error tree: every error says what it means, and each has its place in the tables."""

from __future__ import annotations

import inspect

import pytest

from daemon import errors
from daemon.__main__ import EXIT_CODES
from daemon.api.answers import STATUS
from daemon.errors import IndexttsdError, RequestRefused

ALL = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, IndexttsdError)]


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_error_says_what_it_means(error):
    assert error.__doc__
    assert error.__doc__.split("\n", maxsplit=1)[0].endswith(".")


@pytest.mark.parametrize(
    "error", [found for found in ALL if issubclass(found, RequestRefused)], ids=lambda error: error.__name__
)
def test_every_refusal_has_its_http_status(error):
    assert 400 <= STATUS[error] < 500


def test_the_exit_codes_are_those_of_sysexits():
    assert {error.__name__: code for error, code in EXIT_CODES.items()} == {"ConfigError": 78, "DaemonUnreachable": 69}
