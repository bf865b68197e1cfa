"""Makes the dumps beside this file: a whole daemon of an older revision is given tasks of every kind, and killed.

In a checkout of that revision: `python .../tests/ledgers/make.py FILE.sql`. The daemon's folder is called @FOLDER@ in
the dump. Task 8, a batch, is in work: one file of it is spoken, one is in the engine, one waits.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, ".")

from tests.live import LiveDaemon, until


def with_key(daemon: LiveDaemon, key: str, text: str) -> str:
    body = {"text": text, "output_path": "out", "seed": 4_294_967_295}
    return daemon.post("/api/tts/tasks", body, **{"Idempotency-Key": key}).json["task_id"]


def ended(daemon: LiveDaemon) -> None:
    """Tasks of every end."""
    ids = [
        with_key(daemon, "first", "A first text."),
        daemon.submit("FAIL"),
        daemon.submit_batch({"a.wav": "One.", "b.wav": "Two."}, output_directory="whole"),
        daemon.submit_batch({"a.wav": "One.", "b.wav": "FAIL"}, output_directory="partly", priority=9),
    ]
    for task_id in ids:
        daemon.ended(task_id)
    daemon.drop("good.json", [{"text": "Dropped, one."}, {"text": "Dropped, two."}])
    daemon.note("done/good.json.result.json")
    daemon.drop("bad.json", {"text": "FAIL"})
    daemon.note("failed/bad.json.error.json")


def unfinished(daemon: LiveDaemon) -> None:
    """Tasks of every kind that are not over."""
    batch = daemon.submit_batch({"1.wav": "Spoken.", "2.wav": "HANG", "3.wav": "Waits."}, output_directory="in work")
    until(lambda: daemon.view(batch)["processed_files"] == 1, "its first file")
    with_key(daemon, "second", "Long. " * 40)
    daemon.submit("你好，世界。", infer_mode="批次推理", priority=9, prompt_path="bob.wav")
    daemon.submit_batch({"x.wav": "X.", "y.wav": "Y."}, infer_mode="批次推理", output_directory="batched")
    daemon.delete(f"/api/tts/tasks/{daemon.submit('Never to be spoken.')}")
    daemon.drop("waiting.json", [{"text": "Waits in .claimed/."}, {"text": "This too."}])
    until(lambda: daemon.get("/api/tts/stats").json["tasks"]["pending"] == 5, "the dropped file's tasks")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        daemon = LiveDaemon(folder, engine={"options": {"fail_on": "FAIL", "hang_on": "HANG"}}).start()
        ended(daemon)
        unfinished(daemon)
        daemon.stop(signal.SIGKILL)
        with contextlib.closing(sqlite3.connect(folder / "state" / "indexttsd.db")) as ledger:
            dump = "\n".join(ledger.iterdump())
    Path(sys.argv[1]).write_text(dump.replace(str(folder), "@FOLDER@") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
