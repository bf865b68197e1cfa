"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from daemon.config import Config

_Command = TypeVar("_Command", bound=Callable[..., Any])


def configured(command: _Command) -> _Command:
    """Add `--config FILE`."""
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="The configuration; default ./config.yaml, then /etc/indexttsd/config.yaml.",
    )(command)


def json_wanted(command: _Command) -> _Command:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def load_config(file: Path | None) -> Config:
    """The configuration a command runs with. Raises ConfigError."""
    from daemon import config  # noqa: PLC0415 - `--help` does without pydantic and YAML

    return config.load(file or config.find())
