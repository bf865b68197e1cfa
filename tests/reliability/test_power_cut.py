"""Power cuts of a whole daemon on a disk of its own: what was acknowledged is there, and whole, when it is back."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.disk_image import copy_image, image_folder, make_image, mounted
from tests.live import LiveDaemon, until
from tests.reliability.orders import Accepted, Order, all_over, check, drop, file_of, in_threads, order, post

pytestmark = pytest.mark.reliability

CUTS = 8
_SUFFIXES = ("", "-wal")


class Clients:
    """Two that post and one that drops, without any fsync of its own; all they are told they remember elsewhere.

    Attributes:
        accepted: what was answered with 200, and the files that left the inbox.
        unanswered: what was asked for and not answered yet, by idempotency key. undropped: by file name, likewise.
    """

    def __init__(self, daemon: LiveDaemon) -> None:
        self._daemon = daemon
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self.accepted = Accepted()
        self.unanswered: dict[str, Order] = {}
        self.undropped: dict[str, list[Order]] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._threads = in_threads(self._post, self._post, self._drop)

    def stop(self) -> None:
        self._stop.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def ask_again(self) -> None:
        """Post once more what was not answered, as the same request; drop once more what is nowhere."""
        self._stop = threading.Event()
        for key, asked in self.unanswered.items():
            self.accepted.posted[str(post(self._daemon, asked, key))] = asked
        for name, orders in self.undropped.items():
            for left in self._daemon.inbox.rglob(f"*{name}.json*"):  # of a producer who does not wait for the disk
                if not left.stat().st_size or "failed" in left.parts:
                    left.unlink()
            if not list(self._daemon.inbox.rglob(f"*{name}.json")):
                drop(self._daemon, name, orders)
            self.accepted.dropped[name] = orders

    def _order(self) -> Order:
        number = next(self._numbers)
        return order(number, output_path=f"a/{number % 7}/b/{number}")

    def _post(self) -> None:
        while not self._stop.wait(0.02):
            asked = self._order()
            key = f"order-{asked.body['output_path']}"
            self.unanswered[key] = asked
            if task_id := post(self._daemon, asked, key, give_up=self._stop):
                self.accepted.posted[task_id] = self.unanswered.pop(key)

    def _drop(self) -> None:
        while not self._stop.wait(0.05):
            orders = [self._order()]
            name = f"drop-{orders[0].body['output_path'].replace('/', '-')}"
            self.undropped[name] = orders
            file = drop(self._daemon, name, orders)
            while file.exists() and not self._stop.wait(0.01):
                pass
            if not file.exists():
                self.accepted.dropped[name] = self.undropped.pop(name)


class Disk:
    """A daemon's folder on a disk of its own, and what the disk held when the power was cut."""

    def __init__(self, folder: Path, images: Path) -> None:
        self.folder = folder
        self._images = images
        self._base = make_image(images / "base.img")
        with mounted(self._base, folder):
            daemon = LiveDaemon(folder)
            daemon.start()
            daemon.stop()

    @contextlib.contextmanager
    def cut(self, seconds: float, *launcher: str) -> Iterator[tuple[LiveDaemon, Clients]]:
        """Let clients ask a daemon for this long, and cut the power: the disk as it was left, mounted again."""
        image, left = self._images / "now.img", self._images / "left.img"
        copy_image(self._base, image)
        with mounted(image, self.folder):
            daemon = LiveDaemon(self.folder)
            clients = Clients(daemon)
            try:
                daemon.spawn(*launcher)
                until(lambda: _is_ready(daemon), "the daemon", pause=0.05)
                clients.start()
                time.sleep(seconds)
                self._freeze(daemon, image, left)
            finally:
                clients.stop()
                daemon.close()
                clients.join()
        with mounted(left, self.folder):
            try:
                daemon.write_config()  # it was the test's to bring to the disk
                yield daemon, clients
            finally:
                daemon.close()

    def _freeze(self, daemon: LiveDaemon, image: Path, left: Path) -> None:
        for pid in (daemon.pid, daemon.engine_pid()):
            if pid:
                os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)
        copy_image(image, left)


def _is_ready(daemon: LiveDaemon) -> bool:
    with contextlib.suppress(OSError):
        return daemon.get("/ready").status == 200
    return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with image_folder() as images:
        yield Disk(tmp_path / "disk", images)


def lost(daemon: LiveDaemon, accepted: Accepted, aside: Path) -> list[str]:
    """What was acknowledged and is not on the disk, before any daemon runs there again."""
    known = {task_id for (task_id,) in ledger(daemon, aside, "SELECT id FROM tasks")}
    missing = [task_id for task_id in accepted.posted if int(task_id.rpartition("_")[2]) + 1 not in known]
    return missing + [name for name in accepted.dropped if not _lies_whole(daemon, name, accepted.dropped[name])]


def _lies_whole(daemon: LiveDaemon, name: str, orders: list[Order]) -> bool:
    found = [file for file in daemon.inbox.rglob(f"*{name}.json")]
    return [file.read_text() for file in found] == [json.dumps(orders[0].body, ensure_ascii=False)]


def broken(daemon: LiveDaemon, accepted: Accepted, aside: Path) -> list[str]:
    """The tasks that are completed in the ledger on the disk and whose file is not there or not right."""
    sql = "SELECT file_name FROM speeches JOIN tasks ON task = tasks.id WHERE speeches.state = 'completed'"
    completed = {Path(name).stem for (name,) in ledger(daemon, aside, sql)}
    return [
        task_id
        for task_id, asked in accepted.posted.items()
        if task_id in completed and not file_of(daemon, asked, task_id)
    ]


def ledger(daemon: LiveDaemon, aside: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a question finds in a copy of the ledger: to open it would change it."""
    for suffix in _SUFFIXES:
        (aside / f"ledger.db{suffix}").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(daemon.folder / f"state/indexttsd.db{suffix}", aside / f"ledger.db{suffix}")
    with contextlib.closing(sqlite3.connect(aside / "ledger.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(sql).fetchall()


def test_no_power_cut_loses_what_was_acknowledged_or_leaves_a_file_that_is_not_whole(
    disk: Disk, tmp_path: Path, tell: Callable[[str], None], scale: int
) -> None:
    moments = random.Random(4)
    acknowledged = asked = 0
    for _ in range(CUTS * scale):
        with disk.cut(moments.uniform(0.5, 1.4)) as (daemon, clients):
            acknowledged += len(clients.accepted.orders)
            assert lost(daemon, clients.accepted, tmp_path) == []
            assert broken(daemon, clients.accepted, tmp_path) == []
            daemon.start()
            all_over(daemon)
            clients.ask_again()
            all_over(daemon)
            check(daemon, clients.accepted)
            asked += len(clients.accepted.orders)
            assert daemon.stop() == 0
    assert acknowledged > 10 * CUTS
    tell(
        f"{CUTS * scale} power cuts; {acknowledged} tasks acknowledged, {asked - acknowledged} asked for again; "
        "0 lost, 0 doubled, 0 missing, truncated or wrong files"
    )


def test_without_fsync_of_files_the_same_cut_leaves_files_that_are_not_whole(
    disk: Disk, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    with disk.cut(1.2, "tests.reliability.careless", "files") as (daemon, clients):
        found = broken(daemon, clients.accepted, tmp_path)
        assert found
        tell(
            f"control: {len(found)} of {len(clients.accepted.orders)} acknowledged tasks have a missing or broken file"
        )


def test_without_fsync_of_the_ledger_the_same_cut_loses_tasks(
    disk: Disk, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    with disk.cut(1.2, "tests.reliability.careless", "ledger") as (daemon, clients):
        found = lost(daemon, clients.accepted, tmp_path)
        assert found
        tell(f"control: {len(found)} of {len(clients.accepted.orders)} acknowledged tasks are lost")
