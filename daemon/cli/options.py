"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from daemon.errors import ConfigError

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

    return config.load(file or find())


def find(here: Path = Path("config.yaml"), system: Path = Path("/etc/indexttsd/config.yaml")) -> Path:
    """The configuration of a command that names none; where there are two, stderr tells which.

    A stranger's folder must not tell root where to write, or anybody whom to send a token: there the system's is used.

    Raises:
        ConfigError: there is none.
    """
    found = [file for file in (here, system) if file.is_file()]
    if not found:
        raise ConfigError(f"no configuration found: neither {here} nor {system} exists; name one with --config FILE")
    if len(found) == 1:
        return found[0]
    ours = _is_ours(here)
    used, other = (here, system) if ours else (system, here)
    why = "" if ours else ", which is somebody else's"
    click.echo(f"indexttsd: {used.absolute()} is used, and not {other.absolute()}{why}", err=True)
    return used


def _is_ours(file: Path) -> bool:
    """Whether nobody but the caller and root may have chosen what stands there."""
    owners = {file.stat().st_uid, file.absolute().parent.stat().st_uid}
    return owners <= {os.geteuid(), 0}
