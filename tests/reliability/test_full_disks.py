"""Disks that are full while a daemon works: it says so, refuses what it cannot keep, blames nobody, and goes on."""

from __future__ import annotations

import contextlib

import pytest

from tests.disks import fill, small_disk
from tests.live import until
from tests.traffic import Traffic, ledger

pytestmark = pytest.mark.reliability

#: MB of the small disks. The ledger's log may take 4 of them before it begins anew.
_DISK = 16
#: Room for less than a task, so that a disk that is not quite full takes nothing; and for less than the guard leaves.
_NEXT_TO_NOTHING, _LESS_THAN_GUARDED = 12 << 10, 400 << 10


@pytest.fixture
def on_small_disk(tmp_path, make_daemon):
    """Makes a daemon, not started, one of whose folders is a small disk: `on_small_disk("state", min_free_mb=0)`."""
    with contextlib.ExitStack() as mounts:

        def make(which, min_free_mb):
            disk = mounts.enter_context(small_disk(tmp_path / "daemon" / which, _DISK))
            daemon = make_daemon(
                inbox={"settle_seconds": 0.1, "rescan_seconds": 1},
                engine={"options": {"delay_seconds": 0.02}},
                retention={"min_free_mb": min_free_mb},
            )
            return daemon, disk

        yield make


def not_ready(daemon, disk):
    """What /ready says, once it names the disk."""
    return until(
        lambda: (said := daemon.get("/ready")).status == 503 and str(disk) in said.detail and said.detail, "503"
    )


def check_it_waits(daemon, traffic):
    """It answers polls, and holds nobody guilty."""
    assert daemon.get("/health").json == {"status": "ok"}
    assert {daemon.view(task_id)["status"] for task_id in traffic.accepted} <= {"pending", "processing", "completed"}
    assert daemon.get("/api/tts/stats").json["tasks"]["failed"] == 0
    # The one in the engine when the disk became full is marked, until the ledger takes what came of it.
    assert ledger(daemon, "SELECT sum(attempts) FROM speeches")[0][0] <= 1


def check_refusal(daemon, disk):
    """What cannot be kept is refused with a sentence that names the disk."""
    answer = daemon.post("/api/tts/tasks", {"text": "x", "output_path": "posted"})
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")
    assert str(disk) in answer.detail


@pytest.mark.parametrize(
    ("which", "spare", "min_free_mb"),
    [
        ("state", _NEXT_TO_NOTHING, 0),
        ("outputs", _NEXT_TO_NOTHING, 0),
        ("inbox", _NEXT_TO_NOTHING, 0),
        ("state", _LESS_THAN_GUARDED, 64),
    ],
)
def test_a_daemon_whose_disk_fills_up_waits_and_then_makes_all_it_accepted(
    on_small_disk, tell, which, spare, min_free_mb
):
    daemon, disk = on_small_disk(which, min_free_mb)
    daemon.start()
    with Traffic(daemon) as traffic:
        until(lambda: daemon.get("/api/tts/stats").json["tasks"]["completed"] > 10, "some tasks")
        filler = fill(disk, spare)
        said = not_ready(daemon, disk)
        check_it_waits(daemon, traffic)
        if min_free_mb or which == "state":  # else the ledger keeps what is accepted until there is room again
            check_refusal(daemon, disk)
        filler.unlink()
        until(lambda: daemon.get("/ready").status == 200, "readiness")
        accepted = len(traffic.accepted)
        until(lambda: len(traffic.accepted) > accepted, "another task")
    kept = traffic.check_all_is_kept()
    log = daemon.log.read_text()
    assert [word for word in ("Traceback", "internal error", "could not be spoken") if word in log] == []
    assert daemon.stop() == 0
    tell(f"{which} full, {said!r}: {len(traffic.refused)} refused; then {kept}")


def test_a_daemon_started_on_a_full_disk_says_so_and_goes_on_when_there_is_room(on_small_disk, tell):
    daemon, disk = on_small_disk("state", 0)
    task_id = daemon.start().submit("One. Two. Three. " * 20)
    daemon.stop()
    filler = fill(disk)
    daemon.spawn()
    until(lambda: "the start waits: the ledger " in (said := daemon.log.read_text()) and "its disk is full" in said)
    filler.unlink()
    until(lambda: "listening" in daemon.log.read_text().partition("the start goes on")[2], "the doors")
    assert daemon.ended(task_id)["status"] == "completed"
    tell("1 task waited for room from one daemon to the next")
