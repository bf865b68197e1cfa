"""The command line. Its modules import click alone at the top, so that `--help` answers at once."""

from __future__ import annotations

import click

from daemon import __version__
from daemon.cli import database, local, models, prune, remote, tokens


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="indexttsd")
def cli() -> None:
    """Turn texts into speech in the background.

    Exit codes: 0 done, 1 the task failed or was refused, 2 wrong usage, 69 daemon not reachable, 78 configuration.
    """


for room in (local, models, prune, database, tokens, remote):
    for command in room.COMMANDS:
        cli.add_command(command)
