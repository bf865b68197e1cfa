"""What must be on a machine before a model is loaded: Python, packages, PyTorch, and the GPU with its driver."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from daemon.engines.base import EngineSettings, Finding
from daemon.engines.indextts import upstream
from daemon.engines.packages import install
from daemon.errors import EngineUnavailable

_DRIVER = Path("/proc/driver/nvidia/version")
_NO_DRIVER = "no NVIDIA driver is loaded on this machine"


def survey(packages: Sequence[str], settings: EngineSettings) -> Iterator[Finding]:
    """Look at everything, the device only if PyTorch is there.

    Args:
        packages: distributions that this version of IndexTTS needs, besides PyTorch.
    """
    yield _python()
    found = _packages(["torch", *packages])
    yield found
    if found.ok:
        yield _device(settings)


def _python() -> Finding:
    mine = platform.python_version()
    if sys.version_info[:2] == (3, 11):
        return Finding("python", True, mine)
    return Finding(
        "python",
        False,
        f"IndexTTS needs Python 3.11, and this is {mine}; {install('PYTHON=/path/to/python3.11')} "
        "(in a checkout `make clean` first)",
    )


def _packages(names: Sequence[str]) -> Finding:
    versions = {name: _version(name) for name in names}
    if missing := [name for name, found in versions.items() if found is None]:
        return Finding("packages", False, f"not installed: {', '.join(missing)}; {upstream.INSTALL}")
    return Finding("packages", True, ", ".join(f"{name} {found}" for name, found in versions.items()))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _device(settings: EngineSettings) -> Finding:
    try:
        upstream.prepare(settings.cache_dir)
        gpu = upstream.module("daemon.engines.indextts.gpu")
        chosen = gpu.choose_device(settings.device)
    except EngineUnavailable as error:
        return Finding("device", False, f"{error} ({_driver() or _NO_DRIVER})")
    if chosen == "cpu":
        why = "engine.device is cpu" if settings.device == "cpu" else _why_no_gpu(gpu.why_not(0))
        return Finding("device", True, "cpu", (f"IndexTTS speaks many times slower than real time here: {why}",))
    cuda = upstream.module("torch").cuda
    free, total = cuda.mem_get_info(chosen)
    room = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    return Finding("device", True, f"{chosen} is {cuda.get_device_name(chosen)}, {room}, {_driver()}")


def _why_no_gpu(reason: str) -> str:
    driver = _driver()
    return f"{reason} ({driver})" if driver else _NO_DRIVER


def _driver() -> str | None:
    """The NVIDIA kernel module, which programs outside a container share with those in it."""
    try:
        found = re.search(r"\s(\d+\.[\d.]+)\s", _DRIVER.read_text())
    except OSError:
        return None
    return f"NVIDIA driver {found[1] if found else 'of unknown version'}"
