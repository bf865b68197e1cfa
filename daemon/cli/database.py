"""`indexttsd db`: look at the ledger and copy it, whether a daemon uses it or not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.options import configured, json_wanted, load_config

if TYPE_CHECKING:
    from daemon.store.examination import Examination


@click.group()
def db() -> None:
    """The ledger of all tasks: check it, copy it. A daemon may go on meanwhile."""


@db.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@configured
@json_wanted
def check_ledger(file: Path | None, config_file: Path | None, as_json: bool) -> None:
    """See whether the ledger (or a backup of it, FILE) is whole and its rows keep what was promised.

    Nothing is written. Exit codes: 0 it is sound, 1 its rows are not or cannot be read now, 78 it is damaged or none.
    """
    from daemon.store.examination import examine  # noqa: PLC0415

    found = examine(file or _ledger(config_file))
    if as_json:
        click.echo(json.dumps(_as_json(found), ensure_ascii=False))
    else:
        _print(found)
    sys.exit(1 if found.problems else 0)


@db.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@configured
@json_wanted
def backup(file: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Copy the ledger as it is now to FILE (default: a new one in backups/ beside it); nothing is overwritten.

    The copy is one file, checked and on the disk when this ends; to put it in the ledger's place, see
    docs/reliability.md.
    """
    from daemon import premises  # noqa: PLC0415
    from daemon.store import backups  # noqa: PLC0415
    from daemon.store.examination import examine  # noqa: PLC0415

    config = load_config(config_file)
    if not file:  # another place is root's to choose
        premises.act_as_owner(config)
    ledger = premises.ledger_file(config)
    target = file.absolute() if file else backups.by_hand(ledger)
    backups.write(ledger, target)
    copied = examine(target)
    if as_json:
        click.echo(json.dumps(_as_json(copied), ensure_ascii=False))
    else:
        click.echo(f"{target}: {copied.size} bytes, tasks {sum(copied.tasks.values())}, revision {copied.revision}")


def _ledger(config_file: Path | None) -> Path:
    from daemon import premises  # noqa: PLC0415

    return premises.ledger_file(load_config(config_file))


def _as_json(found: Examination) -> dict[str, object]:
    return {
        "file": str(found.file),
        "sound": not found.problems,
        "revision": found.revision,
        "bytes": found.size,
        "tasks": found.tasks,
        "in_work": found.in_work,
        "problems": found.problems,
    }


def _print(found: Examination) -> None:
    click.echo(f"{found.file}: revision {found.revision}, {found.size} bytes")
    counts = ", ".join(f"{count} {state}" for state, count in found.tasks.items())
    click.echo(f"tasks: {sum(found.tasks.values())}{f' ({counts})' if counts else ''}")
    if found.in_work:
        click.echo(f"files in work: {found.in_work} (if no daemon runs, they go on when one starts)")
    for problem in found.problems:
        click.echo(f"PROBLEM  {problem}")
    click.echo("not sound" if found.problems else "sound")


COMMANDS = (db,)
