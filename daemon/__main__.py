"""Where the command line begins, and where errors become exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

import click

from daemon.cli import cli
from daemon.errors import ConfigError, DaemonUnreachable, IndexttsdError

#: Error, with all below it in the tree -> exit code (sysexits.h where it has one); every other error of ours is 1.
EXIT_CODES: Mapping[type[IndexttsdError], int] = {ConfigError: 78, DaemonUnreachable: 69}


def exit_code(error: IndexttsdError) -> int:
    """What a command that ends with this error exits with."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


def main() -> None:
    """Run a command; whatever goes wrong is one line, never a traceback."""
    try:
        cli(prog_name="indexttsd")
    except IndexttsdError as error:
        click.echo(f"indexttsd: {error}", err=True)
        sys.exit(exit_code(error))
    except BrokenPipeError:  # `indexttsd tasks | head`
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        logging.getLogger("indexttsd").debug("unforeseen", exc_info=True)
        click.echo(f"indexttsd: {type(error).__name__}: {' '.join(str(error).split())}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
