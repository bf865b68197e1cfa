"""A worker at work on folders of its own, with a real ledger and a real engine process."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from pathlib import Path
from types import SimpleNamespace

from daemon.bell import Bell
from daemon.engines import SPECS
from daemon.engines.base import EngineSettings
from daemon.host import Host
from daemon.outputs import Outputs
from daemon.prompts import Prompts
from daemon.space import Space
from daemon.spool import Spool
from daemon.store import Store
from daemon.tasks import view
from daemon.troubles import Troubles
from daemon.worker import Rooms, Worker
from tests.live import PATIENCE, new_task, write_wav

MISBEHAVING = {"fail_on": "FAIL", "crash_on": "CRASH"}
VOICES = ("alice.wav", "bob.wav", "carol.wav")


def make_host(folder, name="tone", timeout=PATIENCE, limits=None, **options):
    spec = dataclasses.replace(SPECS["tone"], name=name)
    return Host(spec, EngineSettings(None, "cpu", options, folder), timeout, "error", limits)


class Workshop(SimpleNamespace):
    """A worker and its rooms in one folder."""

    store: Store
    host: Host
    prompts: Prompts
    spool: Spool
    bell: Bell
    worker: Worker
    rooms: Rooms
    troubles: Troubles
    out: Path

    def add(self, *texts, **values):
        """Accept tasks; their ids."""
        tasks = [
            new_task(text, **{"directory": str(self.out), "output_path": str(self.out)} | values) for text in texts
        ]
        return [receipt.task_id for receipt in self.store.submit(tasks, None)]

    def work_off(self):
        """Speak all that waits."""
        while self.worker.step():
            pass

    def view(self, task_id):
        return view(self.store.task(task_id))

    def files(self):
        return sorted(file.name for file in self.out.iterdir())


def open_workshop(folder, store, host, max_attempts=3, unload_after=None):
    """A worker on this folder; what is there already goes on."""
    prompts, out = folder / "prompts", folder / "outputs" / "out"
    if not prompts.exists():
        prompts.mkdir()
        for level, name in enumerate(VOICES, 1):
            write_wav(prompts / name, level=level)
        out.mkdir(parents=True)
    spool, bell = Spool(folder / "spool"), Bell()
    voices, troubles = Prompts(prompts, "random"), Troubles()
    outputs, space = Outputs([out.parent]), Space([out.parent], 0)
    rooms = Rooms(store, host, voices, outputs, spool, bell, max_attempts, space, troubles)
    worker = Worker(rooms, unload_after=unload_after)
    made = {"store": store, "host": host, "spool": spool, "bell": bell, "prompts": voices, "troubles": troubles}
    return Workshop(**made, worker=worker, out=out, rooms=rooms)


def samples(file):
    return Path(file).read_bytes()[44:]


def rows(file, sql, *values):
    """What a statement finds in a ledger."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        return connection.execute(sql, values).fetchall()
