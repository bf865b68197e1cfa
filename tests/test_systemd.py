"""The unit file: systemd itself reads it without a complaint, and it agrees with the daemon."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.app import STOP_PATIENCE

UNIT = Path("systemd/indexttsd.service")


def settings():
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_reads_the_unit_without_a_complaint(tmp_path):
    program = tmp_path / "indexttsd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = UNIT.read_text(encoding="utf-8")
    text = text.replace("/opt/indexttsd/.venv/bin/indexttsd", str(program))
    text = text.replace("User=indexttsd", f"User={getpass.getuser()}").replace("Group=indexttsd\n", "")
    unit = tmp_path / "indexttsd.service"
    unit.write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in checked.stderr.splitlines() if "indexttsd" in line]
    assert (checked.returncode, complaints) == (0, [])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("RestartPreventExitStatus", "78"),
        ("Restart", "on-failure"),
        ("KillMode", "mixed"),
        ("OOMPolicy", "continue"),
    ],
)
def test_the_unit_says_what_the_daemon_relies_on(key, value):
    assert settings()[key] == value


def test_the_unit_waits_longer_for_a_segment_to_end_than_the_daemon_does():
    assert int(settings()["TimeoutStopSec"]) >= STOP_PATIENCE + 30
