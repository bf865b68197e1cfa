"""A daemon whose wall clock jumps by hours while tasks come in, wait, are spoken and hang: nothing depends on it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from tests.live import until, wav_facts

pytestmark = pytest.mark.reliability

HOUR = 3600
JUMPS = (0, -7 * HOUR, 5 * HOUR, -400 * HOUR, 90 * 24 * HOUR, -HOUR)
#: Where people are told the time; whoever else asks for it would make something depend on it.
TOLD = {
    *("store/work.py", "store/accepting.py", "store/reading.py", "inbox/scan.py", "inbox/notes.py"),
    *("prompts.py", "retention.py", "store/backups.py", "tokens.py"),
}


@pytest.fixture
def start_jumping(make_daemon, tmp_path):
    """Starts a daemon; it, and a function that makes its clock jump to the next of JUMPS."""

    def start(**settings):
        shift = tmp_path / "shift"
        daemon = make_daemon(**settings)
        daemon.spawn("tests.shifted_clock", str(shift))
        until(lambda: daemon.log.exists() and "is ready in process" in daemon.log.read_text(), "the engine")
        jumps = itertools.cycle(JUMPS)

        def jump():
            part = shift.with_suffix(".part")
            part.write_text(str(next(jumps)))
            part.rename(shift)

        return daemon, jump

    return start


def test_a_clock_that_jumps_changes_no_order_and_no_deadline(start_jumping, tell):
    daemon, jump = start_jumping(
        engine={"options": {"delay_seconds": 0.1, "hang_on": "HANG"}},
        worker={"segment_timeout": 5, "max_attempts": 1},
        inbox={"settle_seconds": 0.5, "rescan_seconds": 1},
    )
    accepted = []
    for n in range(12):
        jump()
        accepted.append(daemon.submit("HANG." if n == 4 else f"Text {n}.", output_path="posted"))
        if n % 3 == 0:
            daemon.drop(f"{n}.json", {"text": f"Dropped {n}.", "output_path": "dropped"})
    began = {task_id: re.fullmatch(r"task_(\d+)_\d+", task_id)[1] for task_id in accepted}
    assert sorted(map(int, began.values())) != list(map(int, began.values())), "the clock did jump back"

    def all_over():
        jump()
        counts = daemon.get("/api/tts/stats").json["tasks"]
        return counts["completed"] + counts["failed"] == 16

    until(all_over, "all tasks")
    ended = daemon.log.read_text()
    order = [
        accepted.index(task_id)
        for task_id in re.findall(r"(task_\d+_\d+): \S+ (?:is there|failed)", ended)
        if task_id in accepted
    ]
    assert order == list(range(12)), "in the order they were accepted"
    views = [daemon.view(task_id) for task_id in accepted]
    assert [view["status"] for view in views] == ["failed" if n == 4 else "completed" for n in range(12)]
    assert views[4]["error"] == "given up after 1 attempts: the engine did not answer within 5 s"
    assert all(wav_facts(view["output_file"])[3] > 0 for view in views if view["status"] == "completed")
    assert [daemon.note(f"done/{n}.json.result.json")[0]["status"] for n in (0, 3, 6, 9)] == ["completed"] * 4
    assert daemon.get("/api/tts/stats").json["oldest_pending_seconds"] is None
    assert daemon.stop() == 0
    tell("12 posted and 4 dropped tasks while the clock jumped by up to 90 days: in order, 1 timed out, 0 lost")


def test_a_file_settles_by_the_true_passing_of_time(start_jumping, tell):
    """Its two halves are written by somebody who closes it between them, and the clock jumps ahead there."""
    daemon, jump = start_jumping(inbox={"settle_seconds": 12, "rescan_seconds": 1})
    file = daemon.inbox / "slow.json"
    file.write_text('{"text": "Half', encoding="utf-8")
    for _ in JUMPS:
        jump()
        assert daemon.ended(daemon.submit())["status"] == "completed"  # which makes the inbox look again
    with file.open("a", encoding="utf-8") as half:
        half.write(' and whole."}')
    assert daemon.note("done/slow.json.result.json")[0]["status"] == "completed"
    tell(f"1 file written over {len(JUMPS)} jumps of the clock: taken once, whole")


def test_only_those_who_tell_people_the_time_ask_for_it():
    asking = re.compile(r"\btime\.time\b|\btime_ns\b|\bnow\(|\butcnow\(|\btoday\(")
    found = {
        str(file.relative_to("daemon")) for file in Path("daemon").rglob("*.py") if asking.search(file.read_text())
    }
    assert found <= TOLD, found - TOLD
