"""An inbox with all rooms below it, real ones, but no engine and no HTTP: tests scan by hand and end the tasks."""

from __future__ import annotations

import atexit
import functools
import json
import logging
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from daemon.bell import Bell
from daemon.config import InboxConfig, LimitsConfig
from daemon.engines.tone import SPEC
from daemon.inbox import Inbox
from daemon.intake import Intake
from daemon.outputs import Outputs
from daemon.prompts import Prompts
from daemon.store import Store
from daemon.troubles import Troubles
from tests.bad_payloads import as_json
from tests.live import write_wav

MAX_BYTES = 4 * 1024**2


@functools.cache
def empty_ledger() -> Path:
    """An empty ledger to copy: to make one takes a process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    Store(folder / "empty.db").close()
    return folder / "empty.db"


def make_ground(folder: Path) -> None:
    """What a room needs besides its inbox; for tests that make the inbox themselves."""
    (folder / "prompts").mkdir()
    (folder / "outputs").mkdir()
    write_wav(folder / "prompts" / "alice.wav")
    shutil.copy(empty_ledger(), folder / "ledger.db")


class DropRoom:
    """One inbox on `folder`. What is dropped is settled at the first look unless `settle` says otherwise."""

    def __init__(self, folder: Path, *, settle: float = 0, rescan: float = 30, queue: int = 100) -> None:
        self.folder = folder / "inbox"
        self.outputs = folder / "outputs"
        if not self.folder.exists():
            make_ground(folder)
        self.ledger = folder / "ledger.db"
        self.store = Store(self.ledger)
        self.bell = Bell()
        limits = LimitsConfig(queue=queue)
        prompts = Prompts(folder / "prompts", "random")
        intake = Intake(self.store, prompts, Outputs([self.outputs]), SPEC, limits)
        config = InboxConfig(settle_seconds=settle, rescan_seconds=rescan)
        self.troubles = Troubles()
        self.inbox = Inbox(self.folder, config, MAX_BYTES, intake, self.store, self.bell, self.troubles)
        self.inbox.open()

    def close(self) -> None:
        """Leave the inbox as a killed daemon leaves it: what it holds goes, what lies in the folders stays."""
        threading.Thread(target=self.inbox._wire.close).start()  # takes half a second
        self.inbox._claimed.release()
        self.store.close()

    def drop(self, name: str | bytes, content: object) -> Path:
        """Put a file into the inbox. Content that is not bytes is written as JSON."""
        file = self.folder / (name if isinstance(name, str) else name.decode(errors="surrogateescape"))
        file.write_bytes(content if isinstance(content, bytes) else as_json(content))
        return file

    def refused(self, name: str, content: object) -> dict[str, Any]:
        """Drop it, look once, and read the note of its refusal."""
        self.drop(name, content)
        self.inbox.scan()
        assert (self.folder / "failed" / name).exists()
        return self.note(f"failed/{name}.error.json")

    def note(self, relative: str) -> Any:
        return json.loads((self.folder / relative).read_text(encoding="utf-8"))

    def statuses(self) -> dict[str, int]:
        return self.store.stats()[0]

    def finish(self, *, failing: str | None = None) -> None:
        """End all that waits, in the worker's stead: what holds the words `failing` fails."""
        while claimed := self.store.claim():
            if failing is not None and failing in claimed.text:
                self.store.fail(claimed, f"cannot say {failing}")
            else:
                self.store.complete(claimed, 1.0)

    def lying(self, folder: str = ".") -> list[str]:
        """The names in a folder of the inbox, but for ours."""
        return sorted(path.name for path in (self.folder / folder).iterdir() if path.name not in OURS)


OURS = ("done", "failed", ".claimed", ".lock")


def main() -> None:
    """Run an inbox in a process of its own until it is killed: `python -m tests.drop_room FOLDER '{"queue": 5}'`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    room = DropRoom(Path(sys.argv[1]), **json.loads(sys.argv[2]))
    print("open", flush=True)
    room.inbox.run()


if __name__ == "__main__":
    main()
