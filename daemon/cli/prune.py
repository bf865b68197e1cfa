"""`indexttsd prune`: forgets what is not to be kept, when no daemon runs that would do so itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.options import configured, json_wanted, load_config

if TYPE_CHECKING:
    from daemon.config import Config
    from daemon.retention import Pruned


@click.command()
@click.option("--dry-run", is_flag=True, help="Only count; a daemon may run meanwhile.")
@configured
@json_wanted
def prune(dry_run: bool, config_file: Path | None, as_json: bool) -> None:
    """Forget what is older than retention.tasks_days and done_files_days. A running daemon does so itself."""
    config = load_config(config_file)
    if config.retention.tasks_days is None and config.retention.done_files_days is None:
        click.echo(f"{config.file} keeps all: neither retention.tasks_days nor done_files_days is set", err=True)
    pruned = _count(config) if dry_run else _prune(config)
    if as_json:
        click.echo(json.dumps(pruned._asdict() | {"dry_run": dry_run}))
        return
    tasks, files = ("would be forgotten", "would be removed") if dry_run else ("forgotten", "removed")
    click.echo(f"tasks {tasks}: {pruned.tasks}\nfiles {files} from done/: {pruned.files}")


def _count(config: Config) -> Pruned:
    from daemon import premises, retention  # noqa: PLC0415

    return retention.count(config.retention, premises.ledger_file(config), config.paths.inbox)


def _prune(config: Config) -> Pruned:
    from daemon import premises  # noqa: PLC0415
    from daemon.errors import ConfigError, InUse, RequestRefused  # noqa: PLC0415
    from daemon.retention import Retention  # noqa: PLC0415
    from daemon.store import Store  # noqa: PLC0415

    premises.act_as_owner(config)
    ledger = premises.ledger_file(config)
    try:
        owned = premises.own_state(config)
    except InUse as error:
        about = "a daemon prunes by itself, at its start and every hour; with --dry-run this counts meanwhile"
        raise RequestRefused(f"{str(error).partition(';')[0]}; {about}") from None
    try:
        if not ledger.exists():  # the store would make one
            raise ConfigError(f"there is no ledger {ledger}; 'paths.state' says where it lies")
        store = Store(ledger)
        try:
            return Retention(config.retention, store, config.paths.inbox).prune()
        finally:
            store.close()
    finally:
        os.close(owned)


COMMANDS = (prune,)
