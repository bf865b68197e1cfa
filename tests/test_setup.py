"""What `make setup-indextts` promises: locks that agree, the right Python, the right build of PyTorch or advice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "install_torch.py"


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lines, re.MULTILINE))


def test_the_locks_name_one_version_of_every_package_so_their_order_does_not_matter():
    versions: dict[str, set[str]] = {}
    for name in ("build", "runtime", "indextts", "dev"):
        for package, version in locked(name).items():
            versions.setdefault(package, set()).add(version)
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


def test_the_lock_has_all_that_the_extra_asks_for_but_pytorch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = locked("indextts")
    for wanted in map(Requirement, project["optional-dependencies"]["indextts"]):
        if wanted.name != "torch":
            assert wanted.specifier.contains(lock[canonicalize_name(wanted.name)]), wanted
    assert "torch" not in lock
    assert not [package for package in lock if package.startswith("nvidia")]


def test_another_python_is_told_before_anything_is_installed(tmp_path):
    python = tmp_path / "python3.12"
    pretend = "import sys; sys.version_info = (3, 12, 1); exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$2"\n')
    python.chmod(0o755)
    make = ["make", "setup-indextts", f"PYTHON={python}", f"VENV={tmp_path}/venv"]
    made = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert "IndexTTS needs Python 3.11" in made.stderr
    assert not (tmp_path / "venv").exists()


def wheel(folder: Path, version: str, cuda: str | None) -> None:
    """A wheel that says of itself what PyTorch's wheels say, and holds nothing else."""
    info = f"torch-{version}.dist-info"
    files = {
        "torch/__init__.py": "raise ImportError('libcudart.so.13: cannot open shared object file')\n",
        "torch/version.py": f"cuda = {cuda!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    folder.mkdir()
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as archive:
        for name, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(name, text)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment of its own, and two places where pip may look: one has the CPU build, one the CUDA build."""
    folder = tmp_path_factory.mktemp("machine")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    wheel(folder / "cpu", "2.13.0+cpu", None)
    wheel(folder / "cuda", "2.13.0", "13.0")
    return folder


@pytest.fixture
def machine(environment):
    """Without PyTorch, whatever the test before left."""
    for left in site(environment).glob("torch*"):
        shutil.rmtree(left)
    return environment


def site(machine: Path) -> Path:
    return next((machine / "venv" / "lib").glob("python*")) / "site-packages"


def install(machine: Path, wanted: str, finds: str) -> subprocess.CompletedProcess:
    """The tool, on a machine whose pip finds that build."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(machine / finds)}
    command = [machine / "venv" / "bin" / "python", TOOL, wanted]
    return subprocess.run(command, env=clean | settings, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("wanted", "finds"), [("cpu", "cuda"), ("cuda", "cpu"), ("any", "cuda")])
def test_a_wrong_build_is_removed_again_and_the_way_out_is_told(machine, wanted, finds):
    refused = install(machine, wanted, finds)
    assert refused.returncode == 1
    assert "It was removed again" in refused.stderr
    assert "PIP_EXTRA_INDEX_URL=" in refused.stderr
    assert "the same make command again with" in refused.stderr.replace("\n", " ")  # for a checkout, or a service
    assert not list(site(machine).glob("torch*"))


@pytest.mark.parametrize("build", ["cpu", "cuda"])
def test_the_right_build_stays_and_is_not_asked_for_twice(machine, build):
    first = install(machine, build, finds=build)
    again = install(machine, build, finds="nowhere")
    kept = install(machine, "any", finds="nowhere")
    assert (first.returncode, again.returncode, kept.returncode) == (0, 0, 0), first.stderr
    assert "fetch" in first.stdout
    assert "fetch" not in again.stdout + kept.stdout
    assert f"cuda = {None if build == 'cpu' else '13.0'!r}" in (site(machine) / "torch" / "version.py").read_text()


def test_pips_own_failure_is_passed_on(machine):
    failed = install(machine, "cuda", finds="nowhere")
    assert failed.returncode == 1
    assert "No matching distribution found for torch==2.13.0" in failed.stderr
    assert "pip install failed" in failed.stderr


def test_the_compiled_parts_of_torchaudio_are_removed_in_every_case(machine):
    library = site(machine) / "torchaudio" / "lib" / "libtorchaudio.so"
    library.parent.mkdir(parents=True)
    library.touch()
    (library.parents[1] / "__init__.py").touch()
    install(machine, "cpu", finds="nowhere")
    assert (library.parents[1] / "__init__.py").exists()
    assert not library.exists()


def test_an_unknown_build_is_refused(machine):
    refused = install(machine, "rocm", finds="cpu")
    assert refused.returncode == 1
    assert refused.stderr == "TORCH must be cpu or cuda, not 'rocm'\n"
