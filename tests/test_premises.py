"""What a configuration stands for: folders that are there, and that one daemon owns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import config, premises
from daemon.errors import InUse, StorageUnavailable
from tests.disks import run, small_disk
from tests.live import LiveDaemon

ROOT = Path(__file__).parents[1]


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("owner", "told"), [(65534, "nobody (65534, 65534, 65534)"), (0, "None (0, 0, 0)")])
def test_roots_command_becomes_the_user_whose_state_it_is(configured, owner, told):
    configured.paths.state.mkdir(parents=True)
    os.chown(configured.paths.state, owner, owner)
    become = (
        "import os, sys; from pathlib import Path; from daemon import config, premises; "
        "print(premises.act_as_owner(config.load(Path(sys.argv[1]))), os.getresuid())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", become, str(configured.file)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.stdout.strip() == told, ran.stderr
