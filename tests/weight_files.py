"""Folders of weights whose files are small, but of the kind that their names promise."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from daemon.engines.weights import Weights


def checkpoint(size: int = 100) -> bytes:
    """A zip archive, as torch.save writes one."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}." + bytes(size))
    return file.getvalue()


def safetensors(size: int = 16) -> bytes:
    """A safetensors file with one tensor of `size` bytes."""
    header = json.dumps({"__metadata__": {"format": "pt"}, "a": {"dtype": "U8", "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


def content(name: str) -> bytes:
    """What a whole file of that name may hold."""
    suffix = Path(name).suffix
    if suffix == ".safetensors":
        return safetensors()
    return checkpoint() if suffix in (".pth", ".pt", ".bin") else b"{}\n"


def fill(folder: Path, weights: Weights, *, optional: bool = True) -> Path:
    """Lay every file of the weights into the folder."""
    for file in weights.files:
        if optional or not file.serves:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(file.path))
    return folder
