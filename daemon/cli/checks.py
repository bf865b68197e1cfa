"""What `indexttsd check` looks at, one finding at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon import app
from daemon.config import Config
from daemon.errors import BadRequest, EngineUnavailable
from daemon.inbox.looks import is_ignored, read_dropped
from daemon.intake import Intake
from daemon.outputs import Outputs
from daemon.prompts import Prompts


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at: `detail` is a sentence about how it is."""

    what: str
    ok: bool
    detail: str


def of_installation(config: Config) -> Iterator[Finding]:
    """The configuration, the folders, the prompts and the engine.

    Raises:
        ConfigError: a folder or an engine's option is wrong.
    """
    yield Finding("configuration", True, str(config.file))
    app.check_address(config)
    app.make_folders(config)
    roots = ", ".join(map(str, config.output.roots))
    yield Finding("folders", True, f"inbox {config.paths.inbox}, state {config.paths.state}, output {roots}")
    yield _prompts(config)
    try:
        with app.speaking_once(config) as host:
            facts = host.load()
            yield Finding(
                "engine", True, f"{host.name} speaks at {facts.sample_rate} Hz: {app.engine_spec(config).about}"
            )
    except EngineUnavailable as error:
        yield Finding("engine", False, str(error))


def _prompts(config: Config) -> Finding:
    prompts = Prompts(config.paths.prompts, config.prompts.default)
    fault = prompts.fault()
    return Finding("prompts", fault is None, fault or ", ".join(prompts.names()))


def of_files(config: Config, files: Sequence[Path]) -> Iterator[Finding]:
    """What each file would become if it were dropped into the inbox; nothing is stored or spoken."""
    prompts = Prompts(config.paths.prompts, config.prompts.default)
    intake = Intake(None, prompts, Outputs(config.output.roots), app.engine_spec(config), config.limits)
    for file in files:
        yield _file(config, intake, file)


def _read(file: Path, max_bytes: int) -> bytes:
    if not file.name.lower().endswith(".json") or is_ignored(file.name):
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
