"""A drop folder that others may write to: they drop files there, and keep their hands off our folders."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.inbox import sticky
from tests.disks import run, small_disk
from tests.drop_room import DropRoom, make_ground

ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
DAEMON, MEMBER, GROUP = 65533, 65534, 65534


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.mark.parametrize(
    ("before", "after"), [(0o2770, 0o3770), (0o777, 0o1777), (0o1770, 0o1770), (0o755, 0o755), (0o2750, 0o2750)]
)
def test_an_inbox_that_others_may_write_to_gets_the_sticky_bit_which_is_told_once(tmp_path, caplog, before, after):
    caplog.set_level("INFO", logger="indexttsd.inbox")
    make_ground(tmp_path)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox").chmod(before)
    room = DropRoom(tmp_path)
    room.inbox.look()
    room.close()
    assert mode(room.folder) == after
    assert caplog.text.count("got the sticky bit: others may write to it") == (before != after)


@ONLY_ROOT
def test_an_inbox_of_somebody_else_is_left_as_it_is_and_told_with_what_to_do(tmp_path, caplog):
    tmp_path.chmod(0o2770)
    os.chown(tmp_path, DAEMON, GROUP)
    sticky.protect(tmp_path)
    assert mode(tmp_path) == 0o2770
    assert "is not protected: others may write to it, and without the sticky bit" in caplog.text
    assert f"make root its owner, then set it: chown root {tmp_path} && chmod +t {tmp_path}" in caplog.text


@ONLY_ROOT
def test_an_inbox_that_cannot_get_the_bit_is_told_with_what_to_do(tmp_path, caplog):
    with small_disk(tmp_path, 1):
        tmp_path.chmod(0o770)
        run("mount", "-o", "remount,ro", str(tmp_path))
        sticky.protect(tmp_path)
    assert f"it cannot be set from here (Read-only file system): chmod +t {tmp_path}" in caplog.text


AS_THE_DAEMON = """
from daemon.inbox.archive import Archive
from daemon.inbox.claimed import Claimed
become()
claimed = Claimed(inbox)
claimed.own()
for name in ("done", "failed"):
    Archive(inbox / name, "").prepare()
for file in inbox.glob("*.json"):
    print("claimed", claimed.claim(file, file.name).name)
"""
AS_THE_DAEMON_LOOKS = """
import logging
from daemon.inbox.claimed import Claimed
from daemon.inbox.claiming import Claiming
from daemon.life import Sign
become()
logging.basicConfig(stream=sys.stdout, format="%(message)s")
claimed = Claimed(inbox)
claimed.own()
claiming = Claiming(inbox, claimed, 1000, Sign())
claiming.begin(0, remote=False)
for _ in range(2):
    claiming.refresh(must=True)
    for taken in claiming.complete():
        print("claimed", taken.name)
"""
AS_A_MEMBER = """
become()
(inbox / "x.json").write_text("{}")
for name in (".claimed", "done", "failed"):
    try:
        (inbox / name).rename(inbox / "theirs")
        print(name, "renamed")
    except OSError as error:
        print(name, error.strerror)
"""


def done_by(user: int, inbox: Path, what: str) -> list[str]:
    """Do it in the inbox as this user, a member of the inbox's group."""
    to_become = f"def become(): os.setgroups([]); os.setgid({GROUP}); os.setuid({user}); os.umask(0o027)\n"
    start = "import os, sys\nfrom pathlib import Path\ninbox = Path(sys.argv[1])\n"
    command = [sys.executable, "-c", start + to_become + what, str(inbox)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def shared(tmp_path):
    """An inbox of the daemon's user, in which the group may write."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    os.chown(inbox, DAEMON, GROUP)
    inbox.chmod(0o2770)
    return inbox


@ONLY_ROOT
def test_a_folder_that_we_may_not_move_is_told_once_with_what_to_do_and_keeps_no_file_waiting(shared):
    done_by(MEMBER, shared, "become()\n(inbox / 'dir').mkdir()\n(inbox / 'x.json').write_text('{}')\n")
    told, claimed = sorted(done_by(DAEMON, shared, AS_THE_DAEMON_LOOKS))
    assert told.startswith("'dir' stays for now: it is a folder, only files are taken here, and the daemon's user may ")
    assert told.endswith("; remove it, and put its files here one by one")
    assert claimed == "claimed x.json"
    (shared / "dir").chmod(0o2770)
    assert "claimed dir" in done_by(DAEMON, shared, AS_THE_DAEMON_LOOKS)


@ONLY_ROOT
def test_a_member_of_the_group_drops_files_but_cannot_rename_our_folders(shared):
    done_by(DAEMON, shared, AS_THE_DAEMON)
    assert done_by(MEMBER, shared, AS_A_MEMBER) == [
        f"{name} Operation not permitted" for name in (".claimed", "done", "failed")
    ]
    assert done_by(DAEMON, shared, AS_THE_DAEMON) == ["claimed x.json"]
