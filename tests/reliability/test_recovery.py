"""A damaged ledger, and a backup put in its place as docs/reliability.md says."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.store import Store
from tests.live import new_task, until, wav_facts

pytestmark = pytest.mark.reliability

SHORT = "One. Two. Three."


def command(daemon, *words):
    """A command of indexttsd beside the daemon; what it prints as JSON."""
    program = [sys.executable, "-m", "daemon", *words, "--json", "--config", daemon.config]
    ended = subprocess.run(
        program, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    )
    return json.loads(ended.stdout)


def put_in_place(backup, ledger, aside):
    """What the page says: the three files aside, the backup in the ledger's place."""
    aside.mkdir()
    for file in ledger.parent.glob("indexttsd.db*"):
        if file.name in ("indexttsd.db", "indexttsd.db-wal", "indexttsd.db-shm"):
            file.rename(aside / file.name)
    shutil.copy(backup, ledger)


def dropped_tasks(daemon, name):
    """The tasks of a dropped file once it is put away, wherever."""
    notes = [daemon.inbox / "done" / f"{name}.result.json", daemon.inbox / "failed" / f"{name}.error.json"]
    note = until(lambda: next((note for note in notes if note.exists()), None), f"the note of {name}")
    found = json.loads(note.read_text())
    return found if note.parent.name == "done" else found["tasks"]


def test_a_backup_put_in_a_damaged_ledgers_place_goes_on_with_all_it_holds_and_all_that_lies_in_claimed(
    make_daemon, tell
):
    daemon = make_daemon(engine={"options": {"delay_seconds": 0.1}}).start()
    ledger = daemon.folder / "state" / "indexttsd.db"
    before = [daemon.submit(SHORT) for _ in range(20)]
    daemon.drop("early.json", {"text": SHORT, "priority": 0})
    until(lambda: daemon.get("/api/tts/stats").json["tasks"]["pending"] >= 5)
    daemon.ended(before[0])
    until(lambda: (daemon.get("/api/tts/tasks?limit=50").json["tasks"][0]["task_id"]) not in before, "the dropped task")
    daemon.drop("soon.json", {"text": SHORT * 8, "priority": 9})
    until(lambda: [*(daemon.inbox / ".claimed").glob("*--soon.json")], "its claim")
    until(lambda: daemon.get("/api/tts/stats").json["tasks"]["pending"] >= 5)
    told = command(daemon, "db", "backup")
    assert sum(told["tasks"].values()) == len(before) + 2
    daemon.note("done/soon.json.result.json")

    after = [daemon.submit(SHORT) for _ in range(3)]
    for name in ("late-1.json", "late-2.json"):
        daemon.drop(name, [{"text": SHORT, "priority": 0}, {"text": SHORT, "priority": 0}])
    until(lambda: len(list((daemon.inbox / ".claimed").glob("*--late-*"))) == 2, "the claims")
    daemon.ended(before[2])
    with ledger.open("r+b") as file:
        file.write(b"\xa5" * 8192)
    os.truncate(ledger.with_name("indexttsd.db-wal"), 0)
    assert daemon.stop(0) in (1, 78), "1: whoever read between the two met a failing disk; the next start tells more"
    claimed = sorted(file.name for file in (daemon.inbox / ".claimed").glob("*--*"))
    assert len(claimed) >= 2
    spoilt = ledger.read_bytes()
    assert daemon.spawn().stop(0) == 78
    assert "docs/reliability.md says how to put a backup in its place" in daemon.log.read_text().splitlines()[-1]
    assert (ledger.read_bytes(), sorted(f.name for f in (daemon.inbox / ".claimed").glob("*--*"))) == (spoilt, claimed)

    put_in_place(told["file"], ledger, daemon.folder / "aside")
    daemon.start()
    views = [daemon.ended(task_id) for task_id in before]
    for name in ("early.json", "late-1.json", "late-2.json"):
        views += dropped_tasks(daemon, name)
    views += daemon.note("done/soon-2.json.result.json")  # the file itself lies there since before
    assert {view["status"] for view in views} == {"completed"}
    for view in views:
        assert wav_facts(Path(view["output_path"], f"{view['task_id']}.wav"))[3] > 0.5
    lost = [task_id for task_id in after if daemon.get(f"/api/tts/tasks/{task_id}").status == 404]
    assert lost == after
    assert daemon.stop() == 0
    assert command(daemon, "db", "check")["problems"] == []
    tell(
        f"{sum(told['tasks'].values())} tasks in the backup and {len(claimed)} claimed files all completed; "
        f"{len(lost)} posted since are unknown"
    )


def test_a_backup_beside_the_old_log_is_refused_instead_of_spoilt(make_daemon, tell):
    daemon = make_daemon().start()
    task_id = daemon.submit()
    daemon.ended(task_id)
    told = command(daemon, "db", "backup")
    daemon.submit()
    daemon.stop(9)
    ledger = daemon.folder / "state" / "indexttsd.db"
    shutil.copy(told["file"], ledger)
    assert daemon.spawn().stop(0) == 78
    assert "indexttsd.db-wal belongs to an older indexttsd.db and would spoil this one" in daemon.log.read_text()
    for suffix in ("-wal", "-shm"):
        ledger.with_name(f"indexttsd.db{suffix}").unlink()
    daemon.start()
    assert daemon.view(task_id)["status"] == "completed"
    tell("a backup without its own log beside an older one: refused, and whole once that was moved")


PROGRAM = "import sys; from pathlib import Path; from daemon.store import Store; Store(Path(sys.argv[1])).close()"


def dies_at(call, number, file):
    """Whether a daemon that makes a ledger was killed at its so manieth call of the system of this name."""
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
    words = ["strace", "-o", "/dev/null", *inject, sys.executable, "-c", PROGRAM, file]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if "ptrace" in ended.stderr:
        pytest.skip(ended.stderr.strip())
    assert ended.stderr == ""
    return ended.returncode != 0


def test_a_kill_at_any_step_of_making_a_ledger_leaves_a_state_in_which_a_daemon_starts(tmp_path, tell):
    if not shutil.which("strace"):
        pytest.skip("strace is not on this machine")
    kills = 0
    for call in ("rename", "fsync", "unlink"):
        for number in itertools.count(1):
            file = tmp_path / f"{call}-{number}" / "indexttsd.db"
            file.parent.mkdir()
            if not dies_at(call, number, file):
                break
            kills += 1
            store = Store(file)
            assert store.submit([new_task()], None)
            store.close()
            assert sorted(left.name for left in file.parent.iterdir()) == ["indexttsd.db", "indexttsd.db.belongs-here"]
    assert kills >= 8
    tell(f"{kills} kills while a first ledger was made: each next start succeeded")
