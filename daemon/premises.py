"""What a configuration stands for on this machine: its folders, the ledger's file, its engine."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from daemon.config import Config
from daemon.engines import SPECS
from daemon.engines.base import EngineSettings, EngineSpec
from daemon.errors import StorageUnavailable
from daemon.files import lock, make_folder
from daemon.host import Host, Limits
from daemon.life import Sign
from daemon.schema import first_complaint


def engine_spec(config: Config) -> EngineSpec:
    """The configured engine's table entry, what it needs of the configuration checked.

    Raises:
        ConfigError: its options are wrong, or it is not said where its weights are.
    """
    spec = SPECS[config.engine.name]
    weights = spec.weights
    if weights is not None and config.engine.model_dir is None:
        sentence = f"must name a folder for {weights.title}'s weights; then run: {weights.command}"
        raise config.complaint(sentence, "engine", "model_dir")
    try:
        spec.engine_options.model_validate(config.engine.options)
    except ValidationError as error:
        found = first_complaint(error, spec.engine_options)
        raise config.complaint(found.sentence, "engine", "options", *found.path) from None
    return spec


def engine_host(config: Config, spec: EngineSpec, log_level: str, sign: Sign | None = None) -> Host:
    """The host of the configured engine, not started; `sign` is that of the thread that will own it."""
    settings = EngineSettings(
        model_dir=config.engine.model_dir,
        device=config.engine.device,
        options=config.engine.options,
        cache_dir=config.paths.state / "cache",
    )
    limits = Limits(config.engine.recycle_rss_mb, config.engine.recycle_gpu_mb)
    timeout, texts = config.worker.segment_timeout, config.log.texts
    return Host(spec, settings, timeout, log_level, limits, log_texts=texts, sign=sign)


def act_as_owner(config: Config) -> str | None:
    """Let root's command become the user whose state folder this is, for good; the user's name, None: nothing changed.

    What root makes there the daemon could not use, and what the daemon's user plants there root would follow.
    """
    if os.geteuid() != 0 or not config.paths.state.exists():
        return None
    owner = config.paths.state.stat()
    if owner.st_uid == 0:
        return None
    try:
        name = pwd.getpwuid(owner.st_uid).pw_name
        os.initgroups(name, owner.st_gid)
    except KeyError:  # a user without a name
        name = str(owner.st_uid)
        os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    return name


@contextlib.contextmanager
def speaking_once(config: Config) -> Iterator[Host]:
    """The configured engine, loaded, for one use without a daemon.

    Raises:
        ConfigError, EngineUnavailable
    """
    # The error is what a person at a terminal gets; a log with tracebacks is a daemon's.
    logging.getLogger("indexttsd").addHandler(logging.NullHandler())
    host = engine_host(config, engine_spec(config), "critical")
    make_folders(config)
    try:
        host.load()
        yield host
    finally:
        host.close()


def make_folders(config: Config) -> None:
    """Make the configured folders that are missing.

    Raises:
        ConfigError: one cannot be made or written to.
        StorageUnavailable: one cannot be made for now, for its disk is full.
    """
    paths = config.paths
    folders: dict[tuple[str | int, ...], Path] = {
        **{("paths", name): getattr(paths, name) for name in ("inbox", "prompts", "state")},
        **{("output", "roots", index): root for index, root in enumerate(config.output.roots)},
    }
    for key, folder in folders.items():
        try:
            with _making(folder):
                make_folder(folder)
        except OSError as error:
            raise config.complaint(f"{folder} cannot be made: {error.strerror}", *key) from None
        needs = os.R_OK | os.X_OK if key == ("paths", "prompts") else os.R_OK | os.W_OK | os.X_OK
        if not os.access(folder, needs, effective_ids=True):
            what = "cannot be used by this user; mend its permissions"
            if os.statvfs(folder).f_flag & os.ST_RDONLY:
                what = "lies on a read-only disk; mount it for writing (under systemd: ReadWritePaths=)"
            raise config.complaint(f"{folder} {what}", *key)
    with _making(paths.state / "cache") as cache:
        cache.mkdir(exist_ok=True)


@contextlib.contextmanager
def _making(path: Path) -> Iterator[Path]:
    """Make something; that its disk is full is the machine's trouble, which may pass."""
    try:
        yield path
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageUnavailable(f"{path} cannot be made for now: {error.strerror}") from None
        raise


def ledger_file(config: Config) -> Path:
    """Where the ledger lies."""
    return config.paths.state / "indexttsd.db"


def own_state(config: Config) -> int:
    """Own the state folder until the returned descriptor is closed.

    Raises:
        StorageUnavailable: the lock's file cannot be made for now, for the disk is full.
        InUse, ConfigError: as `files.lock`.
    """
    with contextlib.suppress(OSError), _making(config.paths.state / "lock") as file:  # `lock` tells of all else
        file.touch(0o640)
    return lock(config.paths.state / "lock", f"the state folder {config.paths.state}")
