"""Where a task may write, and how: below a root, without links, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Self

from daemon.beneath import make_beneath, open_beneath
from daemon.errors import BadRequest, NotFound, SpeechFailed
from daemon.files import is_there, make_folder, rename_new, sync
from daemon.space import trouble

#: Linux's own limits (limits.h): a folder's path leaves room for a file name within the 4096 bytes of a whole one.
_NAME_BYTES = 255
_PATH_BYTES = 4096 - _NAME_BYTES - 2
#: A path of 4 KB may have two thousand parts, each of them a folder to be made.
_MOST_PARTS = 64

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: What is no regular file must not keep us waiting.
_TO_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

_TEMPORARY_PREFIX = ".indexttsd-"


def temporary_name(owner: str) -> str:
    """The name under which `owner` (a task and its file's number) writes before it publishes."""
    return f"{_TEMPORARY_PREFIX}{owner}.part"


class Outputs:
    """The folders below which tasks may write.

    Args:
        roots: absolute folders; relative output paths are under the first.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [Path(os.path.normpath(root)) for root in roots]

    @property
    def first_root(self) -> Path:
        """The root of relative paths."""
        return self._roots[0]

    def resolve(self, path: str, key: str = "output_path") -> tuple[str, str]:
        """The folder a request names: as it is shown (absolute, else as sent) and as it is used (normalised).

        Decided by the words of the path alone: the answer does not depend on what exists.

        Raises:
            BadRequest: it lies outside the roots or has a part that is no folder's name.
        """
        if not path.strip():
            raise BadRequest(f"'{key}' is blank; give a directory")
        if fault := _path_fault(path):
            raise BadRequest(f"'{key}' {fault}")
        absolute = os.path.isabs(path)  # noqa: PTH117
        used = Path("/", os.path.normpath(self.first_root / path).lstrip("/"))  # POSIX lets two leading slashes stay
        shown = path if absolute else str(used)
        if len(os.fsencode(used)) > _PATH_BYTES:
            raise BadRequest(f"'{key}' is longer than {_PATH_BYTES} bytes")
        if self._root_of(used) is None:
            raise BadRequest(f"'{key}' must lie in one of the folders that output.roots allows, not in {path!r}")
        return shown, str(used)

    def make(self, directory: str, key: str = "output_path") -> None:
        """Make the folder if it is missing, and see that it can be written to.

        Raises:
            BadRequest: it cannot.
            StorageUnavailable: nothing can be made there for now.
        """
        try:
            with self._opened(Path(directory)) as folder:
                if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
                    raise _not_writable(folder)
        except OSError as error:
            if passing := trouble(error, repr(directory)):
                raise passing from None
            raise BadRequest(f"'{key}' {directory!r} cannot be written to: {_reason(error)}") from None

    def existing(self, directory: str, names: Sequence[str]) -> list[str]:
        """Which of these names are taken in the folder.

        Raises:
            BadRequest: it cannot be looked into.
            StorageUnavailable: it cannot for now.
        """
        try:
            with self._opened(Path(directory), make=False) as folder:
                return [name for name in names if is_there(name, folder)]
        except FileNotFoundError:
            return []
        except OSError as error:
            if passing := trouble(error, repr(directory), "looked into"):
                raise passing from None
            raise BadRequest(f"'output_directory' {directory!r} cannot be used: {_reason(error)}") from None

    @contextlib.contextmanager
    def draft(self, directory: str, owner: str) -> Iterator[Draft]:
        """A new file in the folder under its owner's temporary name; what is not published is removed.

        Raises:
            SpeechFailed: the folder cannot be written to.
            StorageUnavailable: no folder there can, for now.
        """
        try:
            with self._opened(Path(directory)) as folder, Draft(folder, temporary_name(owner)) as draft:
                yield draft
        except OSError as error:
            if passing := trouble(error, f"a file in {directory!r}"):
                raise passing from None
            raise SpeechFailed(f"{directory!r} cannot be written to: {_reason(error)}") from None

    def finished(self, directory: str, name: str) -> BufferedReader:
        """A file in the folder, open for reading.

        Raises:
            NotFound: there is none: nothing, a link, something that is no file, or a folder outside today's roots.
            StorageUnavailable: it cannot be read for now.
        """
        try:
            with self._opened(Path(directory), make=False) as folder:
                return _open_to_read(folder, name)
        except OSError as error:
            if passing := trouble(error, f"{name!r} in {directory!r}", "read"):
                raise passing from None
            raise NotFound(f"{name!r} is no longer in {directory!r}") from None

    def sweep(self, directory: str, owner: str) -> None:
        """Remove what a dead worker left under its temporary name."""
        with contextlib.suppress(OSError), self._opened(Path(directory), make=False) as folder:
            _remove(temporary_name(owner), folder)

    def _root_of(self, directory: Path) -> Path | None:
        return next((root for root in self._roots if directory.is_relative_to(root)), None)

    @contextlib.contextmanager
    def _opened(self, directory: Path, *, make: bool = True) -> Iterator[int]:
        """A descriptor of the folder, found below its root's own; a symbolic link on the way is an error."""
        root = self._root_of(directory)
        if root is None:
            raise PermissionError(errno.EACCES, "it lies outside output.roots")
        if make:
            make_folder(root)
        below = "/".join(directory.relative_to(root).parts)
        # By name each time, and its links are followed: it is the operator's, who may make it anew or move it.
        with _closing(os.open(root, _FOLDER)) as base:
            descriptor = make_beneath(base, below) if make else open_beneath(base, below, _FOLDER)
        with _closing(descriptor):
            yield descriptor


class Draft:
    """A file being written.

    Attributes:
        file: open for reading and writing.
    """

    def __init__(self, folder: int, name: str) -> None:
        self._folder = folder
        self._name = name
        _remove(name, folder)  # a dead worker's
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.file = os.fdopen(os.open(name, flags, 0o666, dir_fd=folder), "w+b")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.file.close()  # on a full disk this raises
        finally:
            _remove(self._name, self._folder)

    def seal(self) -> str:
        """Bring all that was written to the disk; returns its SHA-256."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()

    def stands(self, name: str, digest: str, earlier: str | None) -> bool:
        """Whether the final name has this very content, or what an earlier try published; it is durable then.

        Args:
            name: the final name in the same folder.
            digest: of this draft, as `seal` told it. earlier: SHA-256 of the file of an earlier try, if there was one.
        """
        try:
            file = _open_to_read(self._folder, name)
        except OSError:
            return False
        with file:
            if os.fstat(file.fileno()).st_size > self._likely_size():  # somebody else's, and perhaps without end
                return False
            if hashlib.file_digest(file, "sha256").hexdigest() not in (digest, earlier):
                return False
            os.fsync(file.fileno())  # that try may have died between the rename and the folder's fsync
        sync(self._folder)
        return True

    def _likely_size(self) -> int:
        """No try at the same text came out larger than this, in bytes."""
        return 16 * os.fstat(self.file.fileno()).st_size + (16 << 20)

    def publish(self, name: str, *, overwrite: bool) -> None:
        """Let the file appear under its final name.

        Args:
            name: the final name in the same folder.
            overwrite: whether the client allowed to replace what is there.

        Raises:
            SpeechFailed: somebody else's file has the name, or it is none.
        """
        if "/" in name or name in ("", ".", ".."):  # no door lets it in; this is the place where it would do harm
            raise SpeechFailed(f"{name!r} is no file name")
        if overwrite:
            os.rename(self._name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        else:
            try:
                rename_new(self._name, name, source_folder=self._folder, target_folder=self._folder)
            except FileExistsError:
                raise SpeechFailed(f"a file named {name!r} is there already, and it is not this task's") from None
        sync(self._folder)


def _path_fault(path: str) -> str | None:
    """What is wrong with the words of a path, as the end of a sentence."""
    if any(ord(sign) < ord(" ") or sign in "\x7f\\" or "\ud800" <= sign <= "\udfff" for sign in path):
        return "holds a control character, a backslash or a sign that is not UTF-8"
    if len(path.encode()) > _PATH_BYTES:
        return f"is longer than {_PATH_BYTES} bytes"
    if len(Path(path).parts) > _MOST_PARTS:
        return f"is nested more than {_MOST_PARTS} folders deep"
    for part in Path(path).parts:
        if part.startswith("~"):
            return f"has the part {part!r}; '~' is not expanded here, so give the folder's real name"
        if len(part.encode()) > _NAME_BYTES:
            return f"has a part longer than {_NAME_BYTES} bytes"
    return None


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(temporary: str, folder: int) -> None:
    """Remove a temporary file if it is there, for good: the ledger will forget its owner before the next start."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
        sync(folder)


def _open_to_read(folder: int, name: str) -> BufferedReader:
    """A regular file that is no link.

    Raises:
        OSError: there is none that can be read.
    """
    descriptor = open_beneath(folder, name, _TO_READ)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a file", name)


def _not_writable(folder: int) -> OSError:
    if os.fstatvfs(folder).f_flag & os.ST_RDONLY:
        return OSError(errno.EROFS, os.strerror(errno.EROFS))
    return PermissionError(errno.EACCES, "it is not writable")


def _reason(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EEXIST):
        return "a part of it is not a directory, or is a symbolic link"
    return error.strerror or str(error)
