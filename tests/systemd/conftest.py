"""A booted machine with the service installed into it by `make install`, for the tests of this folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd import boot
from tests.systemd.service import Service
from tools import install

_ROOT = Path(__file__).parents[2]


@pytest.hookimpl(tryfirst=True)  # before those are left out that lack the marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here share one machine, so they run in one process; the first waits until all is installed."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.systemd)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[boot.Machine]:
    """A booted systemd."""
    if reason := boot.obstacle():
        pytest.skip(reason)
    machine = boot.Machine(tmp_path_factory.mktemp("machine"))
    yield machine
    machine.down()


@pytest.fixture(scope="session")
def installed(booted: boot.Machine) -> Service:
    """The service, installed from a copy of this checkout, without a network."""
    try:
        python = install.interpreter(None, indextts=False)
    except SystemExit as error:
        pytest.skip(f"no Python of the system's own to install on: {error}")
    _copy_checkout(booted.folder / "checkout")
    _fetch_packages(python, booted.folder / "wheels")
    shutil.copy(Path(__file__).with_name("ask.py"), booted.folder)
    shutil.copy(Path(__file__).with_name("probe.py"), booted.folder)
    service = Service(booted)
    service.said_at_install = service.make("install")
    booted.shell("useradd --create-home --groups indexttsd alice; useradd --create-home bob")
    return service


@pytest.fixture
def service(installed: Service) -> Iterator[Service]:
    """The service as it was installed but for its engine, the quick tone; running."""
    installed.configure()
    installed.restart()
    yield installed
    print(installed.journal()[-6000:])  # shown if the test failed
    installed.as_installed()


def _copy_checkout(folder: Path) -> None:
    """What git knows or would: on another disk than the root the checkout itself cannot be seen inside."""
    listed = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=_ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (_ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_ROOT / name, folder / name)


def _fetch_packages(python: str, folder: Path) -> None:
    """As docs/operations.md tells it for servers without a network."""
    version = subprocess.run(
        [python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, check=True, text=True
    ).stdout.split()
    if tuple(map(int, version)) != sys.version_info[:2]:
        pytest.skip(f"packages for {python} cannot be fetched by Python {sys.version.partition(' ')[0]}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    locks = [part for lock in ("build", "runtime") for part in ("-r", str(_ROOT / f"requirements/{lock}.lock"))]
    command += ["--no-build-isolation", "--dest", str(folder), *locks]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
