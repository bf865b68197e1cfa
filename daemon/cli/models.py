"""`indexttsd models`: which weights there are, whether they are whole, and how they come here."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from daemon.cli.options import configured, json_wanted, load_config

if TYPE_CHECKING:
    from daemon.engines.base import EngineSpec
    from daemon.engines.weights import FileState, Weights

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group()
def models() -> None:
    """The weights of the engines that need some: list, check, download."""


def _folder_option(command: _Command) -> _Command:
    return click.option(
        "--dir",
        "folder",
        metavar="D",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the weights; default engine.model_dir.",
    )(command)


@models.command("list")
@configured
@json_wanted
def list_(config_file: Path | None, as_json: bool) -> None:
    """Which models there are, and whether the configured one is complete."""
    config = load_config(config_file)
    rows = []
    for spec, weights in _with_weights().values():
        state = _state(weights, config.engine.model_dir) if spec.name == config.engine.name else "not configured"
        rows.append(
            {"name": spec.name, "about": spec.about, "repo": weights.repo, "licence": weights.licence, "state": state}
        )
    if as_json:
        click.echo(json.dumps({"models": rows}, ensure_ascii=False))
        return
    for row in rows:
        click.echo(f"{row['name']}  {row['repo']}  {row['state']}\n    {row['about']}\n    licence: {row['licence']}")


def _state(weights: Weights, folder: Path | None) -> str:
    if folder is None:
        return "configured, but engine.model_dir is not set"
    bad = sum(_hurts(state) for state in _states(weights, folder))
    return f"configured, {f'{bad} files missing or damaged' if bad else 'complete'} in {folder}"


@models.command("check")
@click.argument("name", required=False)
@_folder_option
@configured
@json_wanted
def check_models(name: str | None, folder: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Every file that NAME (default: the configured engine) needs: its size, and what is wrong with it."""
    if name is None:
        name = load_config(config_file).engine.name
        if name not in _with_weights():
            _say_there_are_none(name, as_json)
            return
    weights, named = _weights_of(name), folder is not None
    folder = _folder(name, folder, config_file)
    states = _states(weights, folder)
    whole = not any(map(_hurts, states))
    if as_json:
        files = [_as_json(state) for state in states]
        click.echo(
            json.dumps({"name": name, "folder": str(folder), "complete": whole, "files": files}, ensure_ascii=False)
        )
    else:
        _print_table(states)
        click.echo(f"{folder}: {'complete' if whole else _way_out(weights, folder, named=named)}")
    sys.exit(0 if whole else 1)


def _way_out(weights: Weights, folder: Path, *, named: bool) -> str:
    """What to do about a folder that lacks something; `named` on the command line, a download has to name it too."""
    from daemon.engines.weights import owner_of  # noqa: PLC0415

    if other := owner_of(weights, folder):
        return f"holds the weights of {other}, not of {weights.engine}; name another folder with --dir"
    return f"not complete; run: {weights.command}{f' --dir {shlex.quote(str(folder))}' if named else ''}"


def _say_there_are_none(engine: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"name": engine, "folder": None, "complete": True, "files": []}))
    else:
        click.echo(f"the configured engine {engine} brings its own weights; name another to check")


def _print_table(states: list[FileState]) -> None:
    width = max(len(state.file.path) for state in states)
    for state in states:
        size = "-" if state.missing else _human(state.size)
        remark = f" (only for {state.file.serves})" if state.file.serves else ""
        click.echo(f"{state.file.path:<{width}}  {size:>9}  {state.fault or 'ok'}{remark}")


def _as_json(state: FileState) -> dict[str, Any]:
    file = state.file
    return {"path": file.path, "repo": file.repo, "serves": file.serves, "size": state.size, "fault": state.fault}


@models.command()
@click.argument("name")
@_folder_option
@click.option("--all", "optional", is_flag=True, help="Also the files that only some options need.")
@click.option("--verify", is_flag=True, help="Also compare the files that are there, and fetch those that differ.")
@configured
@json_wanted
def download(
    name: str, folder: Path | None, optional: bool, verify: bool, config_file: Path | None, as_json: bool
) -> None:
    """Fetch what NAME lacks in its folder; broken off, the same command goes on. HF_ENDPOINT names a mirror."""
    from daemon.engines import hub  # noqa: PLC0415
    from daemon.engines.weights import require  # noqa: PLC0415

    weights = _weights_of(name)
    folder = _folder(name, folder, config_file)
    click.echo(f"{weights.title}: {weights.licence}", err=as_json)
    files = hub.wanted(weights, folder, optional=optional, verify=verify)
    if files:
        click.echo(f"asking the hub for {len(files)} files ...", err=True)
    pieces = hub.differing(hub.ask(files), folder)
    size = sum(piece.size or 0 for piece in pieces)
    if pieces:
        click.echo(f"fetching {_human(size)} into {folder}", err=True)
    hub.fetch(weights, pieces, folder)
    require(weights, folder)
    if as_json:
        fetched = [piece.file.path for piece in pieces]
        click.echo(json.dumps({"name": name, "folder": str(folder), "downloaded": fetched, "bytes": size}))
    else:
        click.echo(f"{folder}: complete")
        _say_what_was_left(weights, folder)


def _say_what_was_left(weights: Weights, folder: Path) -> None:
    left = [state.file for state in _states(weights, folder) if state.fault and state.file.repo]
    for purpose in dict.fromkeys(file.serves for file in left):
        click.echo(f"left out: what is only for {purpose}; --all fetches it too")


def _with_weights() -> dict[str, tuple[EngineSpec, Weights]]:
    from daemon.engines import SPECS  # noqa: PLC0415

    return {name: (spec, spec.weights) for name, spec in SPECS.items() if spec.weights}


def _weights_of(name: str) -> Weights:
    known = _with_weights()
    if name not in known:
        raise click.UsageError(f"'{name}' has no weights of its own to care for; these have: {', '.join(known)}")
    return known[name][1]


def _folder(name: str, given: Path | None, config_file: Path | None) -> Path:
    """The folder that was given, else the one configured for this very engine."""
    if given is not None:
        return given.absolute()
    engine = load_config(config_file).engine
    if engine.model_dir is None:
        raise click.UsageError("engine.model_dir is not set: name the folder of the weights with --dir")
    if engine.name != name:
        raise click.UsageError(
            f"engine.model_dir belongs to {engine.name}, which is configured: name a folder for {name} with --dir"
        )
    return engine.model_dir


def _states(weights: Weights, folder: Path) -> list[FileState]:
    from daemon.engines.weights import inspect  # noqa: PLC0415

    return inspect(weights, folder)


def _hurts(state: FileState) -> bool:
    """Whether the engine cannot be loaded for it. A damaged optional file hurts too: it would break its option."""
    return state.fault is not None and not (state.file.serves and state.missing)


def _human(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


COMMANDS = (models,)
