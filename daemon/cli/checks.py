"""What `indexttsd check` looks at, one finding at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from daemon import address, premises
from daemon.config import Config
from daemon.engines import SPECS
from daemon.engines.base import Finding
from daemon.engines.weights import inspect, require
from daemon.errors import BadRequest, ConfigError, EngineUnavailable
from daemon.inbox.looks import is_ignored, is_json, read_dropped
from daemon.intake import Intake
from daemon.offspring import how_it_ended
from daemon.outputs import Outputs
from daemon.prompts import Prompts

#: Importing PyTorch from a cold disk takes a minute; longer than this it hangs. Seconds.
_CHECKUP_TIMEOUT = 300


def of_configuration(config: Config) -> Iterator[Finding]:
    """The configuration and the tokens; nothing else is read, and nothing made.

    Raises:
        ConfigError: what also keeps the daemon from starting; the findings before it have been given.
    """
    yield Finding("configuration", True, str(config.file))
    yield _door(config, more_tokens=True)
    premises.engine_spec(config)


def of_installation(config: Config) -> Iterator[Finding]:
    """That, the folders, what the engine needs, the prompts, and the engine itself.

    Raises:
        ConfigError: as `of_configuration`.
    """
    yield Finding("configuration", True, str(config.file))
    yield _door(config)
    if user := premises.act_as_owner(config):
        yield Finding("user", True, f"{user}, whose folder {config.paths.state} is, looks at all that follows")
    premises.make_folders(config)
    roots = ", ".join(map(str, config.output.roots))
    yield Finding("folders", True, f"inbox {config.paths.inbox}, state {config.paths.state}, output {roots}")
    yield from _weights(config)
    yield from _checkup(config)
    yield _prompts(config)
    yield _engine(config)


def _door(config: Config, *, more_tokens: bool = False) -> Finding:
    tokens, place = address.look(config, more_tokens=more_tokens), address.shown(config)
    if not tokens.needed:
        told = f"{place}; whoever reaches it may ask, for there are no tokens, unless systemd hands them over"
        return Finding("HTTP door", True, told, tuple(_strangers(config)))
    if not len(tokens):
        advice = "make a token with: indexttsd token new"
        return Finding("HTTP door", True, f"{place}; a token is needed, and there is none: nobody gets in", (advice,))
    return Finding("HTTP door", True, f"{place}; every request needs a token, of which there are {len(tokens)}")


def _strangers(config: Config) -> Iterator[str]:
    """What a start would say, if it knows no more tokens than we do."""
    try:
        address.look(config)
    except ConfigError as error:
        yield f"no daemon starts, unless systemd hands over a token: {error}"


def _weights(config: Config) -> Iterator[Finding]:
    weights, folder = SPECS[config.engine.name].weights, config.engine.model_dir
    if weights is None or folder is None:  # the latter is a fault of the configuration
        return
    try:
        require(weights, folder)
    except EngineUnavailable as error:
        yield Finding("weights", False, str(error))
    else:
        lacks = dict.fromkeys(
            state.file.serves for state in inspect(weights, folder) if state.fault and state.file.repo
        )
        advice = [f"{purpose} needs files that are not there; run: {weights.command} --all" for purpose in lacks]
        yield Finding("weights", True, f"{weights.title} in {folder}", tuple(advice))
    yield Finding("licence", True, weights.licence)


def _checkup(config: Config) -> Iterator[Finding]:
    """What `daemon.engines.checkup` finds; that it breaks down itself is a finding too."""
    prompts = Prompts(config.paths.prompts, config.prompts.default)
    request = {
        "name": config.engine.name,
        "device": config.engine.device,
        "cache_dir": str(config.paths.state / "cache"),
        "prompts": [str(prompts.file(name)) for name in prompts.names()],
    }
    command = [sys.executable, "-m", "daemon.engines.checkup"]
    try:
        ended = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, timeout=_CHECKUP_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        yield Finding("checkup", False, f"looking at packages and prompts took more than {_CHECKUP_TIMEOUT} s")
        return
    for line in ended.stdout.splitlines():
        found = json.loads(line)
        yield Finding(**found | {"advice": tuple(found["advice"])})
    if ended.returncode:
        yield Finding("checkup", False, f"looking at packages and prompts {_death(ended)}")


def _death(ended: subprocess.CompletedProcess[str]) -> str:
    return f"{how_it_ended(ended.returncode)}; its last words: {ended.stderr.strip().rpartition(chr(10))[2]}"


def _prompts(config: Config) -> Finding:
    prompts = Prompts(config.paths.prompts, config.prompts.default)
    fault = prompts.fault()
    return Finding("prompts", fault is None, fault or ", ".join(prompts.names()))


def _engine(config: Config) -> Finding:
    about = premises.engine_spec(config).about
    try:
        with premises.speaking_once(config) as host:
            return Finding("engine", True, f"{host.name} speaks at {host.load().sample_rate} Hz: {about}")
    except EngineUnavailable as error:
        return Finding("engine", False, str(error))


def of_files(config: Config, files: Sequence[Path]) -> Iterator[Finding]:
    """What each file would become if it were dropped into the inbox; nothing is stored or spoken."""
    prompts = Prompts(config.paths.prompts, config.prompts.default)
    intake = Intake(None, prompts, Outputs(config.output.roots), premises.engine_spec(config), config.limits)
    for file in files:
        yield _file(config, intake, file)


def _read(file: Path, max_bytes: int) -> bytes:
    if not is_json(file.name) or is_ignored(file.name):
        raise BadRequest("the inbox reads only names that end in .json and do not begin with '.'")
    return read_dropped(file, max_bytes)


def _file(config: Config, intake: Intake, file: Path) -> Finding:
    try:
        tasks = intake.check(_read(file, config.server.max_body_bytes), file.name)
    except BadRequest as error:
        place = "" if error.index is None else f"object {error.index}: "
        return Finding(str(file), False, f"{place}{error}")
    except OSError as error:
        return Finding(str(file), False, f"the file cannot be read: {error.strerror}")
    speeches = [text for task in tasks for text in task.speeches.values()]
    detail = f"tasks {len(tasks)}, files {len(speeches)}, characters {sum(map(len, speeches))}"
    return Finding(str(file), True, detail)
