"""The units: systemd itself reads them without a complaint, they are as closed as promised, and they fit the daemon."""

from __future__ import annotations

import getpass
import grp
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon import config as configuration
from daemon.app import STOP_PATIENCE
from daemon.tokens import CREDENTIAL
from tools import install

SHIPPED = Path("systemd")
UNIT = SHIPPED / "indexttsd.service"
DROP_INS = sorted((SHIPPED / "indexttsd.service.d").glob("*.conf"))

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine"
)


def settings(file=UNIT):
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def placed(folder, *drop_ins):
    """The unit in a folder of its own, with these drop-ins."""
    shutil.copy(UNIT, folder)
    shutil.copy(SHIPPED / "indexttsd.socket", folder)
    (folder / "indexttsd.service.d").mkdir()
    for drop_in in drop_ins:
        shutil.copy(SHIPPED / "indexttsd.service.d" / drop_in, folder / "indexttsd.service.d")
    return folder / UNIT.name


@needs_systemd_analyze
@pytest.mark.parametrize("drop_in", [None, *(file.name for file in DROP_INS)])
@pytest.mark.parametrize("name", ["indexttsd.service", "indexttsd.socket"])
def test_systemd_reads_the_units_without_a_complaint(tmp_path, name, drop_in):
    program = tmp_path / "indexttsd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    me, mine = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
    placed(tmp_path, *filter(None, [drop_in]))
    for unit in tmp_path.glob("indexttsd.*"):
        if unit.is_file():
            text = unit.read_text(encoding="utf-8").replace(f"{install.CURRENT}/bin/indexttsd", str(program))
            text = text.replace("User=indexttsd", f"User={me}").replace("Group=indexttsd", f"Group={mine}")
            unit.write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in checked.stderr.splitlines() if "indexttsd" in line]
    assert (checked.returncode, complaints) == (0, [])


@needs_systemd_analyze
@pytest.mark.parametrize(
    ("drop_ins", "most"),
    [([], 1.5), (["gpu.conf"], 1.5), (["unix-socket.conf"], 0.6), (["gpu.conf", "unix-socket.conf"], 0.6)],
)
def test_the_service_is_as_closed_as_promised(tmp_path, drop_ins, most):
    unit = placed(tmp_path, *drop_ins)
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={most * 10:.0f}", str(unit)]
    scored = subprocess.run(command, capture_output=True, text=True, check=False)
    assert scored.returncode == 0, scored.stdout[-3000:] + scored.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("RestartPreventExitStatus", "78"),
        ("Restart", "on-failure"),
        ("RestartSec", "0.5"),
        ("StartLimitBurst", "10"),
        ("KillMode", "mixed"),
        ("OOMPolicy", "continue"),
        ("UMask", "0027"),
        ("LoadCredential", CREDENTIAL),
    ],
)
def test_the_unit_says_what_the_daemon_relies_on(key, value):
    assert settings()[key] == value


def test_the_unit_waits_longer_for_a_segment_to_end_than_the_daemon_does():
    assert int(settings()["TimeoutStopSec"]) >= STOP_PATIENCE + 30


def test_the_socket_is_where_the_shipped_configuration_says():
    shipped = configuration.load(Path("config.yaml")).server
    assert settings(SHIPPED / "indexttsd.socket")["ListenStream"] == f"{shipped.host}:{shipped.port}"


def test_the_installed_configuration_is_the_shipped_one_but_for_its_folders(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(install.default_config(), encoding="utf-8")
    installed, shipped = configuration.load(file), configuration.load(Path("config.yaml"))
    assert installed.paths.model_dump() == {name: install.DATA / name for name in ("inbox", "prompts", "state")}
    assert installed.output.roots == [install.DATA / "outputs"]
    alike = installed.model_dump(exclude={"paths": ..., "output": ..., "server": {"tokens_file"}})
    assert alike == shipped.model_dump(exclude={"paths": ..., "output": ..., "server": {"tokens_file"}})
