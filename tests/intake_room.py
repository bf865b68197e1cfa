"""An intake over real rooms in one folder, for tests."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from pydantic import Field

from daemon.config import LimitsConfig
from daemon.engines import SPECS
from daemon.engines.base import EngineSpec, Options
from daemon.intake import Intake
from daemon.outputs import Outputs
from daemon.prompts import Prompts
from daemon.store import Store
from daemon.tasks import Receipt, Task
from tests.live import write_wav


class Speaking(Options):
    """Options of an engine that takes some."""

    speed: float | None = Field(None, gt=0, le=2)
    style: str | None = None


SPEC = EngineSpec(name="test", load=SPECS["tone"].load, request_options=Speaking, engine_options=Options)


class Counter:
    """An intake over real rooms in one folder."""

    def __init__(self, folder: Path, ledger: Path) -> None:
        self.folder = folder
        self.root = folder / "out"
        self.root.mkdir()
        (folder / "prompts").mkdir()
        write_wav(folder / "prompts" / "alice.wav")
        write_wav(folder / "prompts" / "bob.wav")
        self.store = Store(Path(shutil.copy(ledger, folder / "ledger.db")))
        self.outputs = Outputs([self.root])
        self.intake = self.made()

    def made(self, default: str = "random", spec: EngineSpec = SPEC, **limits: int) -> Intake:
        prompts = Prompts(self.folder / "prompts", default)
        return Intake(self.store, prompts, self.outputs, spec, LimitsConfig(**limits))

    def single(self, intake: Intake | None = None, key: str | None = None, **keys: object) -> Receipt:
        body = {"text": "Hello.", "output_path": "x"} | keys
        return (intake or self.intake).submit(json.dumps(body).encode(), batch=False, key=key)

    def batch(self, folder: str, *names: str, key: str | None = None, **keys: object) -> Receipt:
        body = {"output_directory": folder, "speeches": dict.fromkeys(names, "Hello.")} | keys
        return self.intake.submit(json.dumps(body).encode(), batch=True, key=key)

    def drop(self, content: object, name: str = "story.json") -> list[Task]:
        uid = os.urandom(8).hex()
        self.intake.submit_drop(json.dumps(content).encode(), uid, name)
        return self.store.tasks_of_drop(uid)

    def last(self) -> Task:
        return self.store.tasks(None, 1, None)[0]
