"""`indexttsd token`: who may ask the server."""

from __future__ import annotations

import json
from pathlib import Path

import click

from daemon.cli.options import configured, json_wanted, load_config


@click.group()
def token() -> None:
    """The tokens that the server's clients send. While server.tokens_file exists, every request needs one."""


@token.command("new")
@click.argument("name", required=False)
@configured
@json_wanted
def new_token(name: str | None, config_file: Path | None, as_json: bool) -> None:
    """Make a token and print it: this once, for only its hash is kept. NAME (default token-1 ...) is for you."""
    from daemon import tokens  # noqa: PLC0415

    file = load_config(config_file).server.tokens_file
    first = not file.exists()
    made, secret = tokens.create(file, name)
    click.echo(json.dumps({"name": made.name, "token": secret}) if as_json else secret)
    click.echo(f"its name is {made.name}; its holder sends the header  Authorization: Bearer TOKEN", err=True)
    click.echo("(indexttsd's own commands send what the variable INDEXTTSD_TOKEN holds)", err=True)
    if first:
        click.echo(f"{file} is new: from then on every request needs a token, but for /health", err=True)
    click.echo(_readers(file), err=True)
    click.echo(_EFFECT, err=True)


@token.command("list")
@configured
@json_wanted
def list_tokens(config_file: Path | None, as_json: bool) -> None:
    """List the names of the tokens and the days they were made."""
    from daemon import tokens  # noqa: PLC0415

    file = load_config(config_file).server.tokens_file
    found = tokens.read_file(file)
    if as_json:
        rows = [{"name": each.name, "created": each.created} for each in found or []]
        click.echo(json.dumps({"file": str(file), "needed": found is not None, "tokens": rows}, ensure_ascii=False))
        return
    for each in found or []:
        click.echo(f"{each.created}  {each.name}")
    if not found:
        click.echo(f"{file} {'holds no token: nobody gets in' if found == [] else 'is not there'}", err=True)


@token.command()
@click.argument("name")
@configured
def revoke(name: str, config_file: Path | None) -> None:
    """Take the token called NAME back."""
    from daemon import tokens  # noqa: PLC0415

    file = load_config(config_file).server.tokens_file
    left = tokens.revoke(file, name)
    if not left:
        click.echo(f"it was the last in {file}: now nobody gets in; a token is needed while that file exists", err=True)
    click.echo(_EFFECT, err=True)


_EFFECT = "a running daemon heeds this after: systemctl reload indexttsd (or kill -HUP its process)"


def _readers(file: Path) -> str:
    """Who can read it, for a daemon that cannot will not start."""
    from daemon import files  # noqa: PLC0415

    owner, group = files.owners(file)
    return f"{file} is readable by {owner} and the group {group}: the daemon must be one of them"


COMMANDS = (token,)
