"""Put the wanted build of PyTorch into this environment: python tools/install_torch.py cpu|cuda|any

PyTorch is the one package that the locks leave out: which build fits depends on the machine, and which build pip finds
depends on its settings. So what pip brought is looked at, and a wrong build is removed again instead of being kept.
"""

from __future__ import annotations

import importlib.util
import runpy
import subprocess
import sys
from importlib import invalidate_caches
from importlib.metadata import version
from pathlib import Path

TORCH = "2.13.0"
SIZES = {"cpu": "0.2 GB to fetch, 0.8 GB on disk", "cuda": "about 3 GB to fetch, 6 GB on disk"}
ADVICE = {
    "cpu": """pip brought a CUDA build of torch, of no use without a GPU and gigabytes large. It was removed again.
Point pip at PyTorch's CPU builds: PyTorch's page "Get started" shows the address behind --index-url when Pip and CPU
are chosen. Run the same make command again with TORCH=cpu PIP_EXTRA_INDEX_URL=<that address>""",
    "cuda": """pip brought a build of torch without CUDA, which would leave a GPU idle. It was removed again.
On a machine without a GPU run the same make command again with TORCH=cpu.
Else pip is told somewhere to prefer CPU builds (pip config list shows where: index-url, extra-index-url or find-links).
Take that out, or point pip at the CUDA builds that PyTorch's page "Get started" shows for your driver: run the
same make command again with PIP_EXTRA_INDEX_URL=<that address>""",
}


def main(wanted: str) -> int:
    """Exit status: 0 if the wanted build is there afterwards. `any` keeps what is there, else takes the CPU build."""
    strip_torchaudio()
    if wanted == "any":
        wanted = build() or "cpu"
    if build() != wanted:
        print(f"PyTorch {TORCH}, {wanted} build: {SIZES[wanted]} ...", flush=True)
        remove()
        install(wanted)
        if build() != wanted:
            remove()
            print(ADVICE[wanted], file=sys.stderr)
            return 1
    print(f"IndexTTS can be used from {sys.prefix}: torch {version('torch')}")
    return 0


def build() -> str | None:
    """Which build of our version is installed, without importing it: a CUDA build without its libraries cannot be."""
    invalidate_caches()
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None or version("torch").partition("+")[0] != TORCH:
        return None
    facts = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    return "cuda" if facts["cuda"] else "cpu"


def install(wanted: str) -> None:
    """The CUDA build brings NVIDIA's libraries along; all that every build needs is in the lock already."""
    pip("install", *(["--no-deps"] if wanted == "cpu" else []), f"torch=={TORCH}")


def remove() -> None:
    """Any build, so that a wrong one is neither kept nor taken for the right one next time."""
    if importlib.util.find_spec("torch"):
        pip("uninstall", "--quiet", "--yes", "torch")


def pip(*arguments: str) -> None:
    """pip says itself what went wrong; its exit status ends this program."""
    status = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=False)
    if status.returncode:
        sys.exit(f"pip {arguments[0]} failed; its message is above. Once mended, run the same command again.")


def strip_torchaudio() -> None:
    """torchaudio's compiled parts want the torch they were built with; without them its Python parts, all that IndexTTS
    uses, work with any."""
    spec = importlib.util.find_spec("torchaudio")
    for part in Path(spec.origin).parent.rglob("*.so") if spec and spec.origin else ():
        part.unlink()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("cpu", "cuda", "any"):
        sys.exit(f"TORCH must be cpu or cuda, not {' '.join(sys.argv[1:])!r}")
    sys.exit(main(sys.argv[1]))
