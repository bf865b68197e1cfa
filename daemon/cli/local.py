"""Commands that need no running daemon."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from pathlib import Path

import click

from daemon.cli.options import configured, json_wanted, load_config


@click.command()
@configured
def serve(config_file: Path | None) -> None:
    """Run the daemon in the foreground."""
    # A call for a reload ends a process that does not heed it yet; this one reads its configuration anyway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from daemon import app  # noqa: PLC0415

    sys.exit(app.serve(load_config(config_file)))


@click.command()
@click.argument("text")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="wav, flac, ogg or mp3; default speech.wav.")
@click.option("--prompt", help="A name that `prompts` lists; default as configured.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Default: drawn.")
@click.option("--options", metavar="JSON", default="{}", help="The engine's own, as a request has them.")
@configured
@json_wanted
def say(
    text: str,
    output: Path | None,
    prompt: str | None,
    seed: int | None,
    options: str,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Speak TEXT (- for standard input) once, without a daemon."""
    from daemon.cli.speak import speak_once  # noqa: PLC0415

    config = load_config(config_file)
    words = sys.stdin.read() if text == "-" else text
    spoken = speak_once(config, words, output, prompt, seed, options)
    if as_json:
        click.echo(json.dumps(spoken, ensure_ascii=False))
    else:
        click.echo(
            f"{spoken['output_file']}: {spoken['audio_seconds']:.1f} s of speech in {spoken['process_time']:.1f} s, "
            f"prompt {spoken['prompt']}, seed {spoken['seed']}"
        )


@click.command()
@configured
@json_wanted
def prompts(config_file: Path | None, as_json: bool) -> None:
    """List the reference recordings a task can name."""
    from daemon.prompts import Prompts  # noqa: PLC0415

    config = load_config(config_file)
    names = Prompts(config.paths.prompts, config.prompts.default).names()
    if as_json:
        click.echo(json.dumps({"prompts": names}, ensure_ascii=False))
        return
    for name in names:
        click.echo(name)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config-only", is_flag=True, help="Only the configuration and the tokens, as before a reload.")
@configured
@json_wanted
def check(files: tuple[Path, ...], config_only: bool, config_file: Path | None, as_json: bool) -> None:
    """Check configuration, engine and folders (made if missing); with FILES, what the inbox would make of them."""
    if files and config_only:
        raise click.UsageError("--config-only looks at no FILES")
    from daemon.cli import checks  # noqa: PLC0415

    config = load_config(config_file)
    of_all = checks.of_configuration if config_only else checks.of_installation
    findings = checks.of_files(config, files) if files else of_all(config)
    sound = True
    for finding in findings:
        sound = sound and finding.ok
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(finding), ensure_ascii=False))
            continue
        click.echo(f"{'ok     ' if finding.ok else 'PROBLEM'}  {finding.what}: {finding.detail}")
        for sentence in finding.advice:
            click.echo(f"advice   {finding.what}: {sentence}")
    sys.exit(0 if sound else 1)


COMMANDS = (serve, say, prompts, check)
