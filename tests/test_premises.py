"""What a configuration stands for: folders that are there, and that one daemon owns."""

from __future__ import annotations

import os

import pytest

from daemon import config, premises
from daemon.errors import InUse, StorageUnavailable
from tests.disks import run, small_disk
from tests.live import LiveDaemon


@pytest.fixture
def configured(tmp_path):
    live = LiveDaemon(tmp_path / "daemon")
    live.write_config(paths={"state": str(tmp_path / "disk" / "state")})
    return config.load(live.config)


def test_missing_folders_are_made_and_the_state_has_one_owner(configured):
    premises.make_folders(configured)
    paths = configured.paths
    for folder in (paths.inbox, paths.prompts, paths.state / "cache", *configured.output.roots):
        assert folder.is_dir()
    owned = premises.own_state(configured)
    with pytest.raises(InUse, match="another indexttsd is using the state folder"):
        premises.own_state(configured)
    os.close(owned)
    os.close(premises.own_state(configured))
    assert premises.ledger_file(configured).parent == paths.state


@pytest.mark.parametrize("files", [1, 2, 3])
def test_a_first_start_on_a_full_disk_waits_whichever_file_it_could_not_make(configured, files):
    configured.paths.state.parent.mkdir()
    with small_disk(configured.paths.state.parent, 1) as disk:
        run("mount", "-o", f"remount,nr_inodes={files}", disk)  # the disk's own folder is the first
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match=r"/state\S* cannot be made for now: No space left on device"):
                premises.make_folders(configured)
                premises.own_state(configured)
        run("mount", "-o", "remount,nr_inodes=100", disk)
        premises.make_folders(configured)
        os.close(premises.own_state(configured))
