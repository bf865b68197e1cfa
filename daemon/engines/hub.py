"""Fetches weights from the hub: only what is missing, resumable, each file put in its place in one step.

What can be set of the hub (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DISABLE_PROGRESS_BARS, the proxies) is read by
huggingface_hub itself.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.engines.packages import install
from daemon.engines.weights import WeightFile, Weights, inspect, owner_of
from daemon.errors import DownloadFailed
from daemon.files import lock

#: Unfinished files lie here, below the folder of the weights, and so on its file system.
_STAGING = ".download"
_SHA256, _SHA1 = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A file as the hub has it. `size` is in bytes, None if it does not say; `etag` changes with the content."""

    file: WeightFile
    url: str
    size: int | None
    etag: str


def wanted(weights: Weights, model_dir: Path, *, optional: bool, verify: bool = False) -> list[WeightFile]:
    """The files to ask the hub for: missing and damaged ones, and with `verify` those that seem whole.

    Args:
        optional: also those that the engine speaks without.
    """
    states = [state for state in inspect(weights, model_dir) if state.file.repo]
    needed = [state for state in states if optional or not state.file.serves or not state.missing]
    return [state.file for state in needed if verify or state.fault]


def differing(pieces: Sequence[Piece], model_dir: Path) -> list[Piece]:
    """Those whose content here, if there is any, is not the hub's; reads every byte."""
    return [piece for piece in pieces if not _is_same(piece, model_dir / piece.file.path)]


def ask(files: Sequence[WeightFile]) -> list[Piece]:
    """What the hub has of these files.

    Raises:
        DownloadFailed: it lacks one, refuses it, or cannot be reached; or huggingface_hub is not installed.
    """
    try:
        import huggingface_hub.utils.logging  # noqa: PLC0415
    except ModuleNotFoundError:
        raise DownloadFailed(
            f"downloading needs the package huggingface_hub, which is not installed here: {install()}"
        ) from None
    huggingface_hub.utils.logging.set_verbosity(logging.ERROR)  # its warnings repeat what the errors say
    pieces = []
    for file in files:
        with _explained(file):
            url = huggingface_hub.hf_hub_url(file.repo, file.source)
            found = huggingface_hub.get_hf_file_metadata(url)
        if found.etag is None:
            raise DownloadFailed(
                f"{url} is not answered by a hub: it has no ETag; does HF_ENDPOINT name the right one?"
            )
        pieces.append(Piece(file, url, found.size, found.etag))
    return pieces


def fetch(weights: Weights, pieces: Sequence[Piece], model_dir: Path) -> None:
    """Bring the pieces to their places below `model_dir`, which is made if it is missing.

    Raises:
        DownloadFailed: what came in so far stays, and the next call goes on from there.
        ConfigError: another download is at work in this folder.
    """
    _refuse_strangers(weights, model_dir)
    staging = model_dir / _STAGING / weights.engine
    with _writing(model_dir):
        staging.mkdir(parents=True, exist_ok=True)
    guard = lock(staging / "lock", f"the download into {model_dir}")
    try:
        _check_space(pieces, staging, model_dir)
        for piece in pieces:
            _fetch(piece, _part(staging, piece), model_dir)
        shutil.rmtree(staging.parent, ignore_errors=True)  # parts of files that have changed on the hub since
    finally:
        os.close(guard)


def _refuse_strangers(weights: Weights, model_dir: Path) -> None:
    """Files of two versions in one folder would share names and load as neither."""
    if other := owner_of(weights, model_dir):
        raise DownloadFailed(f"{model_dir} holds the weights of {other}; name another folder with --dir")
    staging = model_dir / _STAGING
    for other in weights.marks:
        if other != weights.engine and (staging / other).is_dir():
            raise DownloadFailed(
                f"{model_dir} holds an unfinished download of {other}; name another folder with --dir, "
                f"or remove {model_dir}"
            )


def _check_space(pieces: Sequence[Piece], staging: Path, model_dir: Path) -> None:
    have = sum(part.stat().st_size for piece in pieces if (part := _part(staging, piece)).is_file())
    need = sum(piece.size or 0 for piece in pieces) - have
    free = shutil.disk_usage(model_dir).free
    if need > free:
        raise DownloadFailed(
            f"{need / 1e9:.1f} GB are to come and {model_dir} has room for {free / 1e9:.1f} GB; "
            "free some, or name another folder with --dir"
        )


def _part(staging: Path, piece: Piece) -> Path:
    return staging / f"{hashlib.sha256(f'{piece.url} {piece.etag}'.encode()).hexdigest()[:32]}.part"


def _fetch(piece: Piece, part: Path, model_dir: Path) -> None:
    from huggingface_hub.file_download import (  # type: ignore[attr-defined]  # noqa: PLC0415
        build_hf_headers,
        http_get,
    )

    # hf_hub_download resumes only in some of its versions, and keeps the hub's own names.
    with _explained(piece.file), part.open("ab") as into:
        if piece.size is not None and into.tell() > piece.size:
            into.truncate(0)
        http_get(
            piece.url,
            into,
            resume_size=into.tell(),
            headers=build_hf_headers(),
            expected_size=piece.size,
            displayed_filename=piece.file.path,
        )
        into.flush()
        os.fsync(into.fileno())
    _check_content(piece, part)
    target = model_dir / piece.file.path
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)


def _check_content(piece: Piece, part: Path) -> None:
    if not _is_same(piece, part):
        part.unlink()
        raise DownloadFailed(f"{piece.file.path} came in damaged and was thrown away; run the same command again")


def _is_same(piece: Piece, path: Path) -> bool:
    """Whether a file's content is what the hub has, as far as its ETag tells."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if _SHA256.fullmatch(piece.etag):  # big files
                return hashlib.file_digest(file, "sha256").hexdigest() == piece.etag
            if _SHA1.fullmatch(piece.etag):  # small ones, as git names them
                blob = f"blob {size}\0".encode() + file.read()
                return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == piece.etag
    except OSError:
        return False
    return piece.size is None or size == piece.size


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadFailed(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def _explained(file: WeightFile) -> Iterator[None]:
    """Whatever goes wrong between here and the hub, as a sentence that names the file."""
    try:
        yield
    except Exception as error:
        raise DownloadFailed(_sentence(file, error)) from error


def _sentence(file: WeightFile, error: Exception) -> str:
    from huggingface_hub import constants, errors  # noqa: PLC0415

    hub, kept = constants.ENDPOINT, "what came in so far is kept"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{file.path} cannot be fetched while HF_HUB_OFFLINE is set; unset it"
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return _refusal(file, hub, error.response.status_code)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{file.path} cannot be written: the disk is full; make room and run the same command again: {kept}"
    return (
        f"{file.path} could not be fetched from {hub} ({_root(error)}); check the network, or set "
        f"HF_ENDPOINT to a mirror, and run the same command again: {kept}"
    )


def _refusal(file: WeightFile, hub: str, status: int) -> str:
    where = f"{file.source} of {file.repo}"
    if status == 404:
        return f"{hub} has no {where} (404); is HF_ENDPOINT the right one?"
    if status in (401, 403):
        return f"{hub} does not give out {where} ({status}); accept its terms on its page and set HF_TOKEN"
    return f"{hub} answered {status} for {where}; run the same command again later: what came in so far is kept"


def _root(error: BaseException) -> str:
    """What it all began with: HTTP libraries wrap an error in an error in an error."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
