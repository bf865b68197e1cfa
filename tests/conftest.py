"""Fixtures: real daemons on folders of their own, and real ledgers."""

from __future__ import annotations

import contextlib
import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.host import Host
from daemon.outputs import Outputs
from daemon.store import Store, database
from tests.api_door import Door
from tests.drop_room import DropRoom
from tests.live import LiveDaemon
from tests.workshop import MISBEHAVING, Workshop, make_host, open_workshop


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says what a test did to the daemon and what came of it, for the table at the end of the run."""
    return lambda sentence: record_property(_TOLD, sentence)


_TOLD = "told"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    told = [(report.nodeid, said) for report in reports for key, said in report.user_properties if key == _TOLD]
    if told:
        terminalreporter.section("what was broken, and what came of it")
    for nodeid, said in sorted(told):
        terminalreporter.write_line(f"{nodeid.rpartition('::')[2]}: {said}")


@pytest.fixture(scope="module", autouse=True)
def _no_leaks() -> Iterator[None]:
    """What a module never closed is an error of its own, not of the test in which the collector happens to find it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    """A running daemon with the tone engine, shared by a module's tests."""
    live = LiveDaemon(tmp_path_factory.mktemp("daemon")).start()
    yield live
    live.close()


@pytest.fixture
def make_daemon(tmp_path: Any) -> Iterator[Callable[..., LiveDaemon]]:
    """Makes daemons of a test's own, not started: `make_daemon(engine={"options": {"delay_seconds": 1}}).start()`."""
    made: list[LiveDaemon] = []

    def make(name: str = "daemon", **settings: dict[str, Any]) -> LiveDaemon:
        made.append(LiveDaemon(tmp_path / name, **settings))
        return made[-1]

    yield make
    for live in made:
        live.close()
        print(live.log.read_text(errors="replace")[-5000:] if live.log.exists() else "")  # shown if the test failed


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated ledger without tasks, to copy: the migrations take a process of their own."""
    file = tmp_path_factory.mktemp("ledger") / "indexttsd.db"
    database.prepare(file)
    return file


@pytest.fixture(scope="module")
def make_door(tmp_path_factory: pytest.TempPathFactory, empty_ledger: Path) -> Iterator[Callable[..., Door]]:
    """Opens HTTP doors that a module's tests share: `make_door(limits={"queue": 1})`."""
    with contextlib.ExitStack() as made:
        yield lambda **settings: made.enter_context(
            contextlib.closing(Door(tmp_path_factory.mktemp("door"), empty_ledger, **settings))
        )


@pytest.fixture(scope="module")
def door(make_door: Callable[..., Door]) -> Door:
    """The HTTP door of a daemon without its worker, shared by a module's tests."""
    return make_door()


@pytest.fixture
def ledger_file(tmp_path: Path, empty_ledger: Path) -> Path:
    """A test's own ledger, without tasks."""
    return Path(shutil.copy(empty_ledger, tmp_path / "indexttsd.db"))


@pytest.fixture
def store(ledger_file: Path) -> Iterator[Store]:
    """A test's own ledger, open."""
    opened = Store(ledger_file)
    yield opened
    opened.close()


@pytest.fixture
def make_room(tmp_path: Path) -> Iterator[Callable[..., DropRoom]]:
    """Makes inboxes on the test's own folder: `make_room(settle=1)`."""
    rooms: list[DropRoom] = []

    def make(**settings: Any) -> DropRoom:
        rooms.append(DropRoom(tmp_path, **settings))
        return rooms[-1]

    yield make
    for room in rooms:
        room.close()


@pytest.fixture
def room(make_room: Callable[..., DropRoom]) -> DropRoom:
    """One such inbox."""
    return make_room()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder below which tasks may write."""
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def outputs(root: Path, tmp_path: Path) -> Outputs:
    """Outputs with that root first and one that is not made yet second."""
    return Outputs([root, tmp_path / "second"])


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One engine for all tests of a module that do not care which."""
    host = make_host(tmp_path_factory.mktemp("cache"), **MISBEHAVING)
    yield host
    host.close()


@pytest.fixture
def make_workshop(tmp_path: Path, store: Store, shared_host: Host) -> Iterator[Callable[..., Workshop]]:
    """Makes workers on the test's own folders, with the shared engine or another."""
    made: list[Workshop] = []

    def make(host: Host | None = None, *args: Any, **settings: Any) -> Workshop:
        made.append(open_workshop(tmp_path, store, host or shared_host, *args, **settings))
        return made[-1]

    yield make
    for workshop in made:
        if workshop.host is not shared_host:
            workshop.host.close()
