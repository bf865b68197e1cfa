"""Disks that fail while a daemon works: it never says yes to what is not safe, and says what is wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.disks import (
    ext4_disk,
    fuse_mount,
    injected,
    kill_server,
    mount_again,
    mount_server_again,
    remount,
    small_disk,
)
from tests.live import until
from tests.traffic import Traffic, ledger

pytestmark = pytest.mark.reliability

_QUICK = {"inbox": {"settle_seconds": 0.1, "rescan_seconds": 1}, "engine": {"options": {"delay_seconds": 0.02}}}


def last_line(daemon):
    return daemon.log.read_text().splitlines()[-1]


def not_ready(daemon, words):
    """What /ready says, once it says these words."""
    return until(lambda: (said := daemon.get("/ready")).status == 503 and words in said.detail and said.detail, words)


def is_ready(daemon):
    return until(lambda: daemon.get("/ready").status == 200, "readiness")


# The ledger's disk


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_what_the_ledgers_disk_did_not_keep_is_not_accepted(make_daemon, tell, call):
    daemon = make_daemon(engine={"options": {"delay_seconds": 0.5}}).start()
    accepted = [daemon.submit("One. Two.") for _ in range(4)]
    with injected(daemon.pid, f"{call}:error=EIO"):
        answer = daemon.post("/api/tts/tasks", {"text": "x", "output_path": "out"})
        assert (answer.status, "failed (" in answer.detail) == (503, True), answer
        assert daemon.stop(0) == 1
    assert last_line(daemon).startswith(f"indexttsd: the disk of {daemon.folder}/state/indexttsd.db failed (disk I/O")
    daemon.start()
    assert [daemon.ended(task_id)["status"] for task_id in accepted] == ["completed"] * 4
    assert ledger(daemon, "PRAGMA integrity_check") == [("ok",)]
    tell(f"{call} failed: the daemon ended with 1; {len(accepted)} accepted tasks, 0 lost after a new start")


def test_nothing_accepted_is_lost_when_the_ledgers_disk_fails_again_and_again(make_daemon, tell, scale):
    daemon = make_daemon(**_QUICK)
    with Traffic(daemon.start()) as traffic:
        for _ in range(2 * scale):
            accepted = len(traffic.accepted)
            until(lambda before=accepted: len(traffic.accepted) > before + 5, "some tasks")
            with injected(daemon.pid, "fdatasync:error=EIO"):
                assert daemon.stop(0) == 1
            daemon.start()
    kept = traffic.check_all_is_kept()
    tell(f"{2 * scale} failing disks, {traffic.cut} requests without an answer; {kept}")


def test_a_state_folder_that_becomes_read_only_ends_the_daemon_and_destroys_nothing(make_daemon, tmp_path, tell):
    folder = tmp_path / "daemon" / "state"
    with ext4_disk(folder, tmp_path / "image", 32, "errors=remount-ro") as device:
        daemon = make_daemon(engine={"options": {"delay_seconds": 0.3}}).start()
        accepted = [daemon.submit("One. Two. Three.") for _ in range(4)]
        until(lambda: daemon.view(accepted[0])["segments_done"], "a segment")
        Path("/sys/fs/ext4", device, "trigger_fs_error").write_text("1")
        assert daemon.stop(0) == 1
        said = last_line(daemon)
        assert str(folder) in said
        assert daemon.spawn().stop(0) == 78
        assert "read-only" in last_line(daemon).lower()
        mount_again(folder, device)
        daemon.start()
        assert [daemon.ended(task_id)["status"] for task_id in accepted] == ["completed"] * 4
        assert daemon.stop() == 0
    tell(f"the state folder became read-only: {said!r}; {len(accepted)} accepted tasks, 0 lost")


def test_a_ledger_that_another_process_holds_is_waited_for(make_daemon, tell):
    daemon = make_daemon(**_QUICK)
    with Traffic(daemon.start(), posters=1, pause=0.5) as traffic:
        until(lambda: daemon.get("/api/tts/stats").json["tasks"]["completed"], "a task")
        with contextlib.closing(sqlite3.connect(daemon.folder / "state/indexttsd.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            said = not_ready(daemon, "another process holds it")
            until(lambda: traffic.refused, "a refusal")
            assert daemon.get("/health").status == 200
            assert daemon.view(traffic.accepted[0])["status"] == "completed"
            other.execute("ROLLBACK")
        is_ready(daemon)
    refused = traffic.refused[0]
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    kept = traffic.check_all_is_kept()
    tell(f"{said!r}: {len(traffic.refused)} refused; then {kept}")


# The ledger's file


def garble(file):
    with file.open("r+b") as ledger_file:
        ledger_file.seek(100)
        ledger_file.write(b"\xa5" * (file.stat().st_size - 100))


DAMAGES = {
    "garbled": garble,
    "cut short": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "removed": lambda file: file.unlink(),
}


def test_a_daemon_whose_ledger_is_damaged_ends_with_78_and_leaves_it_as_it_is(make_daemon, tell):
    daemon = make_daemon().start()
    daemon.ended(daemon.submit())
    daemon.stop()
    file = daemon.folder / "state/indexttsd.db"
    whole = file.read_bytes()
    for damage in DAMAGES.values():
        damage(file)
        left = file.read_bytes() if file.exists() else None
        assert daemon.spawn().stop(0) == 78
        assert last_line(daemon).startswith(f"indexttsd: {file} ")
        assert (file.read_bytes() if file.exists() else None) == left
        file.write_bytes(whole)
    daemon.start()
    assert daemon.get("/api/tts/stats").json["tasks"]["completed"] == 1
    tell(f"{', '.join(DAMAGES)}: 4 starts refused, nothing changed; started with the file put back")


@pytest.mark.parametrize("damage", ["garbled", "removed"])
def test_a_ledger_damaged_under_a_running_daemon_ends_it_with_78(make_daemon, tell, damage):
    daemon = make_daemon(engine={"options": {"delay_seconds": 0.2}}).start()
    daemon.submit("One. Two. Three. Four.")
    with contextlib.closing(sqlite3.connect(daemon.folder / "state/indexttsd.db")) as other:
        other.execute("PRAGMA wal_checkpoint")  # what is only in the log is not missed in the file
    DAMAGES[damage](daemon.folder / "state/indexttsd.db")
    assert daemon.stop(0) == 78
    assert f"{daemon.folder}/state/indexttsd.db " in last_line(daemon)
    tell(f"{damage} while it ran: {last_line(daemon)}")


# The disk of the audio


def test_audio_that_cannot_be_synced_is_written_anew(make_daemon, tell):
    daemon = make_daemon(**_QUICK)
    with Traffic(daemon.start()) as traffic:
        until(lambda: daemon.get("/api/tts/stats").json["tasks"]["completed"] > 5, "some tasks")
        with injected(daemon.pid, "fsync:error=EIO"):
            said = not_ready(daemon, "Input/output error")
            assert daemon.get("/api/tts/stats").json["tasks"]["failed"] == 0
        is_ready(daemon)
    kept = traffic.check_all_is_kept()
    tell(f"{said!r}; then {kept}")


def test_audio_for_a_folder_that_becomes_read_only_waits_until_it_can_be_written(make_daemon, tmp_path, tell):
    with small_disk(tmp_path / "daemon" / "outputs", 64) as disk:
        daemon = make_daemon(**_QUICK)
        with Traffic(daemon.start()) as traffic:
            until(lambda: daemon.get("/api/tts/stats").json["tasks"]["completed"] > 5, "some tasks")
            remount(disk, "ro")
            said = not_ready(daemon, "Read-only file system")
            assert str(disk) in said
            until(lambda: traffic.refused or traffic.wrong, "a refusal")
            assert daemon.get("/api/tts/stats").json["tasks"]["failed"] == 0
            remount(disk, "rw")
            is_ready(daemon)
        kept = traffic.check_all_is_kept()
        daemon.stop()
    tell(f"{said!r}: {len(traffic.refused)} refused; then {kept}")


def test_audio_for_a_mount_whose_server_dies_waits_until_it_is_mounted_again(make_daemon, tmp_path, tell):
    server = tmp_path / "server"
    with fuse_mount(server, tmp_path / "daemon" / "outputs") as mount:
        daemon = make_daemon(**_QUICK | {"engine": {"options": {"delay_seconds": 0.1}}})
        with Traffic(daemon.start()) as traffic:
            waiting = until(lambda: (now := counts(daemon))["completed"] > 3 and now["pending"], "some tasks")
            kill_server(mount)
            said = not_ready(daemon, "a file in ")
            assert f"'{mount}/" in said
            assert "cannot be written for now: Transport endpoint is not connected" in said
            until(lambda: traffic.refused or traffic.wrong, "a refusal")
            assert (
                daemon.post("/api/tts/batch_tasks", {"speeches": {"a.wav": "A."}, "output_directory": "b"}).status
                == 503
            )
            assert (counts(daemon)["pending"] >= waiting, counts(daemon)["failed"]) == (True, 0)
            with standing_still(daemon):  # what it wrote between the two would lie hidden under the mount
                mount_server_again(server, mount)
            is_ready(daemon)
        kept = traffic.check_all_is_kept()
        daemon.stop()
    tell(f"{said!r}: {waiting} waited, {len(traffic.refused)} refused; then {kept}")


def counts(daemon):
    return daemon.get("/api/tts/stats").json["tasks"]


@contextlib.contextmanager
def standing_still(daemon):
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
