"""What a configuration stands for: folders that are there, and that one daemon owns."""

from __future__ import annotations

import os

import pytest

from daemon import config, premises
from daemon.errors import InUse
from tests.live import LiveDaemon


@pytest.fixture
def configured(tmp_path):
    live = LiveDaemon(tmp_path / "daemon")
    live.write_config()
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
