"""The drop folder under all that a machine, its kernel and its people can do to it: real inotify, mounts and limits."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.errors import ConfigError
from tests.bad_payloads import as_json
from tests.disks import fuse_mount, kill_server, mount_server_again, run, small_disk
from tests.drop_room import make_ground
from tests.live import PATIENCE, until

pytestmark = pytest.mark.reliability

ROOT = Path(__file__).parents[2]
FLOOD = 60_000


class Child:
    """An inbox with its rooms in a process of its own, its folders in `folder`."""

    def __init__(self, folder: Path, *prefix: str, **settings: object) -> None:
        self.inbox = folder / "inbox"
        self.ledger = folder / "ledger.db"
        self.log = folder / "log"
        command = [*prefix, sys.executable, "-m", "tests.drop_room", str(folder), json.dumps(settings)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert self.process.stdout.readline() == b"open\n", self.said()

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)  # who is traced would outlive its tracer
        self.process.wait()
        self.process.stdout.close()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def texts(self) -> list[str]:
        """The texts of all tasks."""
        return [text for (text,) in self._ask("select text from texts")]

    def count(self) -> int:
        """How many tasks there are."""
        return self._ask("select count(*) from texts")[0][0]

    def _ask(self, query: str) -> list[tuple]:
        with contextlib.closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as ledger:
            return ledger.execute(query).fetchall()

    def drop(self, name: str, text: str = "a") -> None:
        (self.inbox / name).write_bytes(as_json({"text": text}))

    def takes(self, name: str) -> None:
        """Drop a file, and wait for its task."""
        self.drop(name, name)
        until(lambda: name in self.texts(), f"the task of {name}")


@pytest.fixture
def child(tmp_path):
    """Starts such processes: `child(rescan=0.1)`."""
    made = []

    def start(folder=tmp_path, *prefix, **settings):
        made.append(Child(folder, *prefix, **settings))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_an_overflow_of_events_loses_and_doubles_no_file(tmp_path, child, tell, scale):
    tasks = FLOOD if scale > 1 else FLOOD // 20
    with small_disk(tmp_path / "disk", 600) as disk:
        inbox = child(disk, queue=FLOOD, rescan=3600)
        until(lambda: "inotify rings" in inbox.said(), "the watch")
        inbox.takes("before.json")
        inbox.process.send_signal(signal.SIGSTOP)  # so that nobody reads the events
        for n in range(FLOOD):
            name = f"{n}.json" if n % (FLOOD // tasks) == 0 else f"{n}.json.part"
            (inbox.inbox / name).write_bytes(b'{"text": "%d"}' % n)
        inbox.process.send_signal(signal.SIGCONT)
        until(lambda: "overflow" in inbox.said().lower(), "the overflow")
        until(lambda: inbox.count() > tasks, "all tasks", patience=600)
        texts = inbox.texts()
        assert len(set(texts)) == len(texts) == tasks + 1
        assert "stays for now" not in inbox.said()
        tell(f"{FLOOD} files at once, the kernel's queue overflowed, {tasks} tasks, 0 lost, 0 doubled")


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("max_inotify_instances", "inotify instance limit reached"),
        ("max_inotify_watches", "inotify watch limit reached"),
    ],
)
def test_where_the_kernel_gives_no_watch_the_timed_scan_finds_the_files(child, tmp_path, limit, sentence, tell):
    # Limits of a user namespace of our own: nobody else's watches are touched.
    shell = f'echo 0 > /proc/sys/user/{limit}; exec "$@"'
    run("unshare", "--user", "--map-root-user", "true")
    inbox = child(tmp_path, "unshare", "--user", "--map-root-user", "sh", "-c", shell, "sh", rescan=0.2)
    for n in range(3):
        inbox.takes(f"{n}.json")
    assert inbox.said().count("cannot be watched") == 1
    assert sentence in inbox.said()
    tell(f"user.{limit} = 0: told once, 3 files found by the timer")


def test_an_inbox_that_may_not_be_read_is_told_and_watched_again_when_it_may(child, tmp_path, tell):
    # A root that may not do more than others: permissions count for it.
    plain = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    run(*plain, "true")
    inbox = child(tmp_path, *plain, rescan=0.2)
    inbox.takes("before.json")
    inbox.inbox.chmod(0o300)
    until(lambda: "cannot be looked through: Permission denied" in inbox.said(), "the complaint")
    assert "the inbox goes on" not in inbox.said()
    inbox.drop("meanwhile.json", "meanwhile")
    inbox.inbox.chmod(0o700)
    until(lambda: "meanwhile" in inbox.texts(), "the task")
    assert inbox.said().count("cannot be looked through") == 1
    tell("mode 0300: told once, over by itself, the file of the meantime taken")


def test_a_watch_that_a_closed_folder_refuses_is_made_when_it_opens(child, tmp_path, tell):
    """watchdog says nothing when it may not watch; without our own look the bell would stay dumb for ever."""
    plain = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    run(*plain, "true")
    inbox = child(tmp_path, *plain, rescan=3)
    inbox.takes("before.json")
    inbox.inbox.rename(tmp_path / "old")
    inbox.inbox.mkdir(mode=0o300)
    until(lambda: "cannot be looked through: Permission denied" in inbox.said(), "the complaint")
    inbox.inbox.chmod(0o700)
    until(lambda: "the inbox goes on" in inbox.said(), "the end of the trouble")
    until(lambda: "inotify" in _watches(inbox.process.pid, inbox.inbox), "the watch of the new folder")
    inbox.takes("after.json")
    tell("a folder made again with mode 0300 is watched as soon as it may be")


def _watches(pid: int, folder: Path) -> str:
    """What inotify says of this folder in a process (proc(5), fdinfo)."""
    inode = f"ino:{folder.stat().st_ino:x} "
    found = [file.read_text() for file in Path(f"/proc/{pid}/fdinfo").iterdir()]
    return "\n".join(text for text in found if "inotify" in text and inode in text)


def test_an_unmounted_inbox_goes_on_when_it_is_mounted_again_with_what_it_held(tmp_path, make_room, tell):
    with small_disk(tmp_path / "disk", 4) as disk:
        (disk / "there").mkdir()
        (tmp_path / "inbox").mkdir()
        make_ground(tmp_path)
        run("mount", "--bind", disk / "there", tmp_path / "inbox")
        try:
            room = make_room()
            room.drop("claimed.json", {"text": "claimed"})
            room.inbox.scan()
            room.drop("waiting.json", {"text": "waiting"})
            run("umount", "--lazy", room.folder)
            room.inbox.scan()
            room.drop("under.json", {"text": "under"})  # into the folder that the mount had covered
            room.inbox.scan()
            run("mount", "--bind", disk / "there", room.folder)
            room.inbox.scan()
            assert room.statuses()["pending"] == 3
            room.finish()
            room.inbox.scan()
            assert room.lying("done") == [
                *("claimed.json", "claimed.json.result.json", "under.json.result.json"),
                *("waiting.json", "waiting.json.result.json"),
            ]
            room.drop("after.json", {"text": "after"})
            room.inbox.scan()
            assert room.statuses()["pending"] == 1
        finally:
            subprocess.run(["umount", "--lazy", tmp_path / "inbox"], check=False)
    tell("unmounted with a claimed and a waiting file and mounted again: 4 files, 4 tasks")


@pytest.fixture
def far(tmp_path):
    """A folder, and a FUSE mount of it: what is made in the folder is made on the other side of a network."""
    with fuse_mount(tmp_path / "server", tmp_path / "inbox"):
        yield tmp_path / "server"


def test_on_a_network_file_system_the_timed_scan_finds_what_rings_no_bell(tmp_path, far, child, tell, monkeypatch):
    make_ground(tmp_path)
    inbox = child(tmp_path, rescan=0.2)
    assert "lies on FUSE" in inbox.said()
    assert "files settle for 10 s" in inbox.said()
    (far / "x.json").write_bytes(as_json({"text": "x"}))
    until(lambda: inbox.texts() == ["x"], "the task")
    tell("a file made on the other side of a FUSE mount was found by the timer and settled for 10 s")


def test_a_network_mount_that_died_and_was_mounted_again_is_owned_anew(tmp_path, far, child, tell):
    make_ground(tmp_path)
    inbox = child(tmp_path, rescan=0.2)
    until((far / ".claimed/.lock").exists, "the lock")
    kill_server(tmp_path / "inbox")
    until(lambda: "cannot be looked through" in inbox.said(), "the complaint")
    mount_server_again(far, tmp_path / "inbox")
    (far / "x.json").write_bytes(as_json({"text": "x"}))
    until(lambda: inbox.texts() == ["x"], "the task")
    tell("the process behind a FUSE inbox killed, mounted again: went on by itself")


def test_a_full_disk_under_the_inbox_is_told_once_and_over_by_itself(tmp_path, make_room, caplog, tell):
    with small_disk(tmp_path / "inbox", 1):
        make_ground(tmp_path)
        room = make_room()
        for name in ("good", "late"):
            room.drop(f"{name}.json", {"text": name})
        room.inbox.scan()
        room.finish()
        room.drop("bad.json", b"{")
        room.drop("other.txt", b"")
        ballast = _fill(room.folder)
        for _ in range(3):
            room.inbox.look()
        [sentence] = room.troubles.sentences()
        assert sentence == f"the inbox {room.folder} cannot be written for now: No space left on device"
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
            f"the inbox waits: {sentence}"
        ]
        assert room.lying("done") == room.lying("failed") == []
        assert _parts(room) == []
        ballast.unlink()
        room.inbox.look()
        room.inbox.look()
        assert room.troubles.sentences() == []
        assert room.lying("done") == ["good.json", "good.json.result.json", "late.json", "late.json.result.json"]
        assert room.lying("failed") == ["bad.json", "bad.json.error.json", "other.txt", "other.txt.error.json"]
        assert _parts(room) == room.lying(".claimed") == room.lying() == []
    tell("4 files ended on a full disk: told once, 0 lost, 0 notes doubled, no litter")


def test_a_refusal_on_a_full_disk_is_noted_once_there_is_room(tmp_path, make_room, tell):
    with small_disk(tmp_path / "inbox", 1):
        make_ground(tmp_path)
        room = make_room()
        room.drop("bad.json", b"{")
        ballast = _fill(room.folder)
        for _ in range(3):
            room.inbox.look()
        assert room.troubles.sentences()
        assert len(room.lying(".claimed")) == 1
        ballast.unlink()
        room.inbox.look()
        assert room.lying("failed") == ["bad.json", "bad.json.error.json"]
        assert room.lying(".claimed") == _parts(room) == []
    tell("a refusal without room for its reason waited in .claimed/")


def _fill(folder: Path) -> Path:
    ballast = folder / ".ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def _parts(room) -> list[Path]:
    return list(room.folder.rglob(".indexttsd-*"))


def test_an_inbox_that_becomes_read_only_keeps_its_files_and_goes_on_when_it_is_writable(tmp_path, make_room, tell):
    with small_disk(tmp_path / "inbox", 1) as inbox:
        make_ground(tmp_path)
        room = make_room()
        room.drop("x.json", {"text": "x"})
        run("mount", "--bind", inbox, inbox)
        run("mount", "-o", "remount,bind,ro", inbox)
        try:
            room.inbox.look()
            sentence = f"the inbox {room.folder} cannot be written for now: Read-only file system"
            assert room.troubles.sentences() == [sentence]
            assert room.lying() == ["x.json"]
        finally:
            run("umount", inbox)
        room.inbox.look()
        assert (room.troubles.sentences(), room.statuses()["pending"]) == ([], 1)
    tell("read-only and writable again: the file stayed, and became its task")


def test_a_read_only_inbox_at_the_start_is_a_sentence_and_exit_78(make_daemon, tell):
    live = make_daemon()
    with small_disk(live.inbox, 1):
        run("mount", "-o", "remount,ro", live.inbox)
        command = [sys.executable, "-m", "daemon", "serve", "--config", str(live.config)]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False)
    assert ended.returncode == 78
    assert str(live.inbox) in ended.stderr
    assert "Traceback" not in ended.stderr
    tell(ended.stderr.strip().splitlines()[-1])


@pytest.mark.parametrize("name", ["done", "failed", ".claimed"])
def test_a_folder_of_the_inbox_on_another_mount_is_refused_at_the_start(tmp_path, make_room, name):
    (tmp_path / "inbox").mkdir()
    make_ground(tmp_path)
    with small_disk(tmp_path / "inbox" / name, 1), pytest.raises(ConfigError, match="are not one file system"):
        make_room()


def test_every_step_is_on_the_disk_before_the_next(tmp_path, child, tell):
    """What a power cut may undo is what was not brought to the disk: the order of the calls, as the kernel saw them."""
    run("strace", "-o", "/dev/null", "true")
    calls = tmp_path / "calls"
    trace = ("strace", "-f", "-y", "-s", "200", "-o", str(calls), "-e", "trace=fsync,fdatasync,rename,renameat2")
    inbox = child(tmp_path, *trace, rescan=3600)
    inbox.takes("x.json")
    lines = calls.read_text().splitlines()
    steps = [
        r"fsync\(\d+<[^>]*/inbox/x\.json>\)",
        r'rename\(".*/inbox/x\.json", ".*/\.claimed/[0-9a-f]{32}--x\.json"\)',
        r"fsync\(\d+<[^>]*/inbox/\.claimed>\)",
        r"fsync\(\d+<[^>]*/inbox>\)",
        r"f(data)?sync\(\d+<[^>]*/ledger\.db-wal>\)",
    ]
    at = 0
    for step in steps:
        at = next((n for n in range(at, len(lines)) if re.search(step, lines[n])), len(lines))
        assert at < len(lines), f"{step} comes not after the steps before it in:\n" + "\n".join(lines)
    tell("content, claim, its folders, then the ledger")
