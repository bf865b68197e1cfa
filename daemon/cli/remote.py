"""Commands about tasks: each talks to the running daemon."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from daemon.cli.options import configured, json_wanted, load_config

if TYPE_CHECKING:
    from daemon.cli.client import Client


def _client(config_file: Path | None) -> Client:
    from daemon.cli.client import Client  # noqa: PLC0415

    return Client(load_config(config_file).server)


@click.command()
@click.argument("file", type=click.File("rb"))
@configured
@json_wanted
def submit(file: BinaryIO, config_file: Path | None, as_json: bool) -> None:
    """Post each JSON object of FILE (- for standard input): a task, a batch, or an array of them."""
    from daemon import strict_json  # noqa: PLC0415
    from daemon.errors import BadRequest, RequestRefused  # noqa: PLC0415

    client = _client(config_file)
    content = strict_json.parse(file.read())
    items = content if isinstance(content, list) else [content]
    objects = [item for item in items if isinstance(item, dict)]
    if not objects or len(objects) < len(items):
        raise BadRequest("the file must hold one JSON object or an array of them")
    for index, item in enumerate(objects):
        try:
            receipt = client.submit(item)
        except RequestRefused as error:
            raise RequestRefused(f"object {index}: {error}" if len(objects) > 1 else str(error)) from None
        click.echo(json.dumps(receipt) if as_json else receipt["task_id"])


@click.command()
@click.option("--status", type=click.Choice(["pending", "processing", "completed", "failed"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@configured
@json_wanted
def tasks(status: str | None, limit: int, config_file: Path | None, as_json: bool) -> None:
    """List tasks, newest first."""
    found = _client(config_file).tasks(status, limit)
    if as_json:
        click.echo(_pretty(found))
        return
    for view in found["tasks"]:
        click.echo(_line(view))


@click.command()
@click.argument("task_id", metavar="ID")
@configured
@json_wanted
def show(task_id: str, config_file: Path | None, as_json: bool) -> None:
    """Show one task."""
    _print_view(_client(config_file).show(task_id), as_json)


@click.command()
@click.argument("task_id", metavar="ID")
@click.option(
    "--interval", type=click.FloatRange(0.05, 60), default=0.5, show_default=True, help="Seconds between looks."
)
@configured
@json_wanted
def watch(task_id: str, interval: float, config_file: Path | None, as_json: bool) -> None:
    """Follow a task to its end; exit code 1 if it failed."""
    from daemon.cli.client import follow  # noqa: PLC0415

    views = follow(_client(config_file), task_id, interval)
    last = _watched_by_a_person(views) if sys.stderr.isatty() and not as_json else _watched_by_a_program(views, as_json)
    if not as_json:
        click.echo(_line(last))
    sys.exit(0 if last["status"] == "completed" else 1)


def _watched_by_a_person(views: Iterator[dict[str, Any]]) -> dict[str, Any]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    view: dict[str, Any] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=1.0)
        for view in views:
            progress.update(bar, completed=view["progress"], description=f"{view['task_id']} {view['status']}")
    return view


def _watched_by_a_program(views: Iterator[dict[str, Any]], as_json: bool) -> dict[str, Any]:
    """A line at each change."""
    view: dict[str, Any] = {}
    for found in views:
        changed, view = found != view, found
        over = view["status"] in ("completed", "failed")  # that line is the answer, not progress
        if as_json and changed:
            click.echo(json.dumps(view, ensure_ascii=False))
        elif changed and not over:
            click.echo(_line(view), err=True)
    return view


@click.command()
@click.argument("task_id", metavar="ID")
@configured
@json_wanted
def cancel(task_id: str, config_file: Path | None, as_json: bool) -> None:
    """Cancel a task that is not over."""
    _print_view(_client(config_file).cancel(task_id), as_json)


@click.command()
@click.argument("task_id", metavar="ID")
@configured
@json_wanted
def retry(task_id: str, config_file: Path | None, as_json: bool) -> None:
    """Put a failed or cancelled task back, of a batch its failed files."""
    _print_view(_client(config_file).retry(task_id), as_json)


def _print_view(view: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(_pretty(view))
        return
    width = max(map(len, view))
    for key, value in view.items():
        click.echo(f"{key:<{width}}  {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


def _line(view: dict[str, Any]) -> str:
    """One line about a task."""
    percent = f"{view['progress'] * 100:3.0f} %"
    place = view.get("error") or view.get("output_file") or view.get("output_directory") or view.get("output_path")
    return f"{view['task_id']}  {view['status']:<10}  {percent}  {place}"


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


COMMANDS = (submit, tasks, show, watch, cancel, retry)
