"""config.yaml -> one frozen Config. YAML and defaults live here and nowhere else."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo

from daemon.errors import ConfigError
from daemon.schema import Strict, first_complaint

#: The longest time that may be asked for, in seconds: beyond some years the operating system's clocks overflow.
_WEEK = 7 * 24 * 3600

#: What PyYAML raises besides its own errors, for a thirteenth month or a `!!bool 5`.
_LET_OUT = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError)


def _beside_config(value: object, info: ValidationInfo) -> object:
    """A path as written is relative to the configuration's folder."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("must name a path")
    if str(value).startswith("~"):
        raise ValueError("must not begin with '~', which is not expanded here; give the folder's real name")
    base = Path((info.context or {}).get("base", "."))
    return Path(os.path.normpath(base / value))


def _host_name(name: str) -> str:
    """A name as it stands in a Host header, without a port."""
    if name.count(":") == 1 or not re.fullmatch(r"[\w.:\[\]-]+", name):
        raise ValueError("must be a host name such as tts.example, without http:// and port")
    return name


ConfigPath = Annotated[Path, BeforeValidator(_beside_config)]


class ServerConfig(Strict):
    """The HTTP door.

    Attributes:
        unix_socket: where to listen instead of host and port, if not None.
        tokens_file: names and hashes of the tokens; while it exists a request needs one.
    """

    host: str = "127.0.0.1"
    port: int = Field(51046, ge=0, le=65535)
    unix_socket: ConfigPath | None = None
    tokens_file: ConfigPath = Path("tokens")
    hosts: list[Annotated[str, AfterValidator(_host_name)]] = []
    cors_origins: list[Annotated[str, Field(pattern=r"^https?://[\w.:\[\]-]+/?$")]] = []  # never *
    max_body_bytes: int = Field(4 * 1024**2, ge=1024, le=64 * 1024**2)


class PathsConfig(Strict):
    """The three folders that are the daemon's own."""

    inbox: ConfigPath = Path("inbox")
    prompts: ConfigPath = Path("prompts")
    state: ConfigPath = Path("state")


class OutputConfig(Strict):
    """Where tasks may write."""

    roots: list[ConfigPath] = Field([Path("outputs")], min_length=1)


class EngineConfig(Strict):
    """Which engine speaks, the operator's options for it, and when its process ends before the daemon does.

    Attributes:
        unload_after: idle seconds after which the engine leaves the memory; None or 0: it stays.
        recycle_rss_mb, recycle_gpu_mb: MB held above which its process is replaced between tasks; None: any.
    """

    name: Literal["kokoro", "indextts-1.5", "indextts-2", "indextts-2.5", "tone"] = "kokoro"
    model_dir: ConfigPath | None = None
    device: str = "auto"
    options: dict[str, Any] = {}
    unload_after: float | None = Field(None, ge=0, le=_WEEK)
    recycle_rss_mb: int | None = Field(None, ge=1)
    recycle_gpu_mb: int | None = Field(None, ge=1)


class WorkerConfig(Strict):
    """Patience of the loop. `segment_timeout` is in seconds."""

    max_attempts: int = Field(3, ge=1)
    segment_timeout: float = Field(600, gt=0, le=_WEEK)


class PromptsConfig(Strict):
    """Which prompt speaks when a request names none."""

    default: str = "random"


class InboxConfig(Strict):
    """Patience of the drop folder, in seconds."""

    settle_seconds: float = Field(2, ge=0, le=_WEEK)
    rescan_seconds: float = Field(30, gt=0, le=_WEEK)


class LimitsConfig(Strict):
    """How much is taken."""

    text_chars: int = Field(100_000, ge=1)
    batch_files: int = Field(100_000, ge=1)
    queue: int = Field(10_000, ge=1)


class RetentionConfig(Strict):
    """What is kept, and for how long.

    Attributes:
        tasks_days: days after its end that a task is forgotten; None: never.
        done_files_days: days that a dropped file stays in done/; None: for ever.
        min_free_mb: MB that must stay free where the daemon writes, or it takes nothing new.
    """

    tasks_days: float | None = Field(None, gt=0, le=36_500)
    done_files_days: float | None = Field(None, gt=0, le=36_500)
    min_free_mb: int = Field(64, ge=0, le=1_000_000_000)


class LogConfig(Strict):
    """What is written to the log; texts of tasks only if `texts` asks for them."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    texts: bool = False


class Config(Strict):
    """All settings; every key has its default. `file` is where they were read."""

    server: ServerConfig = ServerConfig()
    paths: PathsConfig = PathsConfig()
    output: OutputConfig = OutputConfig()
    engine: EngineConfig = EngineConfig()
    worker: WorkerConfig = WorkerConfig()
    prompts: PromptsConfig = PromptsConfig()
    inbox: InboxConfig = InboxConfig()
    limits: LimitsConfig = LimitsConfig()
    retention: RetentionConfig = RetentionConfig()
    log: LogConfig = LogConfig()

    _file: Path = Path("config.yaml")

    @property
    def file(self) -> Path:
        """The file these settings came from, absolute."""
        return self._file

    def complaint(self, sentence: str, *path: str | int) -> ConfigError:
        """An error about the key at `path`, naming file and line, for faults only others can see."""
        return _complaint(self._file, _nodes(self._file), path, sentence)


def load(file: Path) -> Config:
    """Read and check a configuration.

    Raises:
        ConfigError: naming file, line and key.
    """
    file = Path(os.path.abspath(file))  # noqa: PTH100 - resolve() would follow a symlinked config to other folders
    node = _nodes(file)
    _refuse_duplicates(file, node, ())
    try:
        config = Config.model_validate(_with_all_sections(_plain(file, node)), context={"base": file.parent})
    except ValidationError as error:
        found = first_complaint(error, Config)
        raise _complaint(file, node, found.path, found.sentence) from None
    object.__setattr__(config, "_file", file)
    try:
        _check_inbox(config)
        _check_roots(config)
    except RuntimeError as error:  # of Path.resolve
        raise ConfigError(f"{file} names a link that leads to itself: {error}") from None
    return config


def _nodes(file: Path) -> yaml.Node | None:
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):  # a few lines of them stand for more than any memory holds
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise ConfigError(f"{file}, line {line}: aliases (*) are not read here; write the value itself")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{file}, line {line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{file} is nested too deeply") from None
    return node


def _with_all_sections(table: dict[str, Any]) -> dict[str, Any]:
    """A section left out or left empty is there with its defaults, which then are relative to the right folder."""
    return {name: {} if table.get(name) is None else table[name] for name in (*Config.model_fields, *table)}


def _plain(file: Path, node: yaml.Node | None) -> dict[str, Any]:
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{file}, line 1: the configuration must be a table of keys")
    constructor = yaml.constructor.SafeConstructor()
    try:
        table = constructor.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{file}, line {line}: {error.problem}") from None
    except _LET_OUT as error:
        raise ConfigError(f"{file}: a value is none of its kind: {error!r}") from None
    return {str(key): value for key, value in table.items()}


def _refuse_duplicates(file: Path, node: yaml.Node | None, path: tuple[str, ...]) -> None:
    """YAML itself lets the last of two equal keys win without a word."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        if name in seen:
            here = ".".join((*path, name))
            raise ConfigError(f"{file}, line {key.start_mark.line + 1}: the key '{here}' stands twice")
        seen.add(name)
        _refuse_duplicates(file, value, (*path, name))


def _complaint(file: Path, node: yaml.Node | None, path: tuple[str | int, ...], sentence: str) -> ConfigError:
    line = _line(node, path)
    where = f"{file}, line {line}" if line else f"{file}"
    key = ".".join(map(str, path))
    return ConfigError(f"{where}: {sentence}" if key in sentence else f"{where}: '{key}': {sentence}")


def _line(node: yaml.Node | None, path: tuple[str | int, ...]) -> int | None:
    """The line of the deepest key of `path` that the file holds, from 1; None if it holds none of it."""
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _check_inbox(config: Config) -> None:
    """What lies in the inbox is taken for a dropped file and moved away."""
    inbox = config.paths.inbox.resolve()
    for key, path in {"state": config.paths.state, "prompts": config.paths.prompts}.items():
        if path.resolve().is_relative_to(inbox):
            raise config.complaint(f"{path} may not equal or lie inside paths.inbox", "paths", key)
    for file, what in _own_files(config).items():
        if any(place.is_relative_to(inbox) for place in _places(file)):
            raise config.complaint(f"the inbox may not hold {what}", "paths", "inbox")


def _own_files(config: Config) -> dict[Path, str]:
    files = {config.file: "the configuration file", config.server.tokens_file: "server.tokens_file"}
    return files | ({config.server.unix_socket: "server.unix_socket"} if config.server.unix_socket else {})


def _places(file: Path) -> set[Path]:
    """Where a name is, and what it leads to."""
    return {file.parent.resolve() / file.name, file.resolve()}


def _check_roots(config: Config) -> None:
    """A root may not touch the daemon's own folders: a task could overwrite a prompt or drop new tasks."""
    own = {f"paths.{name}": getattr(config.paths, name) for name in ("inbox", "state", "prompts")}
    for index, root in enumerate(config.output.roots):
        real = root.resolve()
        for key, folder in own.items():
            if _touch(real, folder.resolve()):
                raise config.complaint(f"{root} may not equal, contain or lie inside {key}", "output", "roots", index)
        for file, what in _own_files(config).items():
            if any(place.is_relative_to(real) for place in _places(file)):
                raise config.complaint(f"{root} may not contain {what}", "output", "roots", index)


def _touch(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
