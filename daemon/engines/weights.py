"""Which files an engine's weights are, and whether they lie where they must; known without torch or a network."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from daemon.errors import EngineUnavailable

#: A list of names longer than this helps nobody; the rest is counted.
_MOST_NAMES = 4
_LFS_POINTER = b"version https://git-lfs"
_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin")
#: How torch wrote checkpoints before it wrote zip archives: as a pickle.
_PICKLE = b"\x80"
#: More than any real header; a wrong length must not fill the memory.
_LONGEST_HEADER = 100 * 1024**2


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of an engine's weights.

    Attributes:
        path: where it belongs, below the folder of the weights.
        repo: the hub's repository that has it; empty for a file that people write themselves.
        source: its path there.
        serves: what it is good for if the engine speaks without it as well; empty for a file it needs.
    """

    path: str
    repo: str
    source: str
    serves: str = ""


@dataclass(frozen=True, slots=True)
class Weights:
    """All files of one engine.

    Attributes:
        engine: `engine.name` of the configuration.
        title: what people call the model.
        repo: the hub's repository of the model itself; some files come from others.
        files: in the order in which they are fetched: small ones first.
        licence: one sentence on what may be done with them.
        marks: for this and every engine whose folder looks much the same, the files that tell whose a folder is.
    """

    engine: str
    title: str
    repo: str
    files: tuple[WeightFile, ...]
    licence: str
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What to type to get them."""
        return f"indexttsd models download {self.engine}"


@dataclass(frozen=True, slots=True)
class FileState:
    """A file of the weights as it lies there. `fault` says what is wrong with it, None: nothing; `size` is in bytes."""

    file: WeightFile
    size: int
    fault: str | None

    @property
    def missing(self) -> bool:
        """Whether there is no such file at all, as opposed to a damaged one."""
        return self.fault == _MISSING


_MISSING = "missing"


def inspect(weights: Weights, model_dir: Path) -> list[FileState]:
    """Look at every file; reads no more than their beginnings and ends."""
    return [_state(file, model_dir / file.path) for file in weights.files]


def require(weights: Weights, model_dir: Path | None) -> Path:
    """The folder of the weights, in which every needed file lies and is whole as far as a glance can tell.

    Raises:
        EngineUnavailable: naming the files that are not, the folder, and what to do.
    """
    if model_dir is None:
        raise EngineUnavailable(
            f"{weights.title} needs its weights: set engine.model_dir to a folder for them, then run: {weights.command}"
        )
    bad = [state for state in inspect(weights, model_dir) if state.fault and not state.file.serves]
    if not bad:
        return model_dir
    if not model_dir.is_dir():
        raise EngineUnavailable(f"the folder {model_dir} (engine.model_dir) does not exist; run: {weights.command}")
    if other := owner_of(weights, model_dir):
        raise EngineUnavailable(
            f"the folder {model_dir} holds the weights of {other}, not of {weights.engine}: set engine.name to "
            f"{other}, or engine.model_dir to another folder and run: {weights.command}"
        )
    raise EngineUnavailable(f"{_complaint(weights, model_dir, bad)}; run: {weights.command}")


def owner_of(weights: Weights, model_dir: Path) -> str | None:
    """The other engine whose weights this folder holds, told by its files' names; None if it is none."""
    there = [name for name, marks in weights.marks.items() if all((model_dir / mark).is_file() for mark in marks)]
    return there[0] if there and weights.engine not in there else None


def _complaint(weights: Weights, model_dir: Path, bad: list[FileState]) -> str:
    missing = [state.file.path for state in bad if state.missing]
    damaged = [f"{state.file.path} ({state.fault})" for state in bad if not state.missing]
    said = []
    if missing:
        said.append(f"lacks {_listed(missing)}")
    if damaged:
        said.append(f"holds damaged files: {_listed(damaged)}")
    return f"the folder {model_dir} of {weights.title}'s weights {' and '.join(said)}"


def _listed(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMES
    if rest < 2:  # "and 1 more" is no shorter than its name
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMES])} and {rest} more files"


def _state(file: WeightFile, path: Path) -> FileState:
    try:
        size = path.stat().st_size
        return FileState(file, size, _fault(path, size))
    except (FileNotFoundError, NotADirectoryError):
        return FileState(file, 0, _MISSING)
    except OSError as error:
        return FileState(file, 0, f"cannot be read: {error.strerror}")


def _fault(path: Path, size: int) -> str | None:
    """What is wrong with a file that exists; a download that broke off is what it finds most often."""
    with path.open("rb") as opened:
        head = opened.read(64)
    if not head:
        return "empty"
    if head.startswith(_LFS_POINTER):
        return "a git-lfs pointer and not the file itself; git lfs pull fetches it"
    if path.suffix == ".safetensors":
        return _safetensors_fault(path, size)
    if path.suffix in _CHECKPOINT_SUFFIXES:
        return _checkpoint_fault(path, head)
    return None


def _checkpoint_fault(path: Path, head: bytes) -> str | None:
    if head.startswith(_PICKLE):
        return None
    if not head.startswith(b"PK"):
        return "not a PyTorch checkpoint"
    try:
        zipfile.ZipFile(path).close()
    except zipfile.BadZipFile:
        return "cut short: its end is missing"
    except (NotImplementedError, ValueError):  # a directory of nonsense
        return "not a PyTorch checkpoint"
    return None


def _safetensors_fault(path: Path, size: int) -> str | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            return "not a safetensors file"
        if size < 8 + length:
            return "cut short: its end is missing"
        try:
            whole = size >= 8 + length + _data_bytes(json.loads(file.read(length)))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return "not a safetensors file"
    return None if whole else "cut short: its end is missing"


def _data_bytes(header: dict[str, dict[str, list[int]]]) -> int:
    """Bytes of data that a safetensors header promises."""
    return max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
