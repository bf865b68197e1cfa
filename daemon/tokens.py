"""Who may ask over HTTP. A file holds names and hashes; a token itself is shown once, and kept nowhere.

A token has 32 random bytes, so its plain SHA-256 cannot be guessed back and needs no slow hash. While the file exists a
token is needed, even if it holds none; who removes it opens a loopback door again, but only at the next start.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from daemon import files
from daemon.errors import BadRequest, ConfigError, Conflict, NotFound

#: The name under which systemd hands over a file of tokens (LoadCredential=).
CREDENTIAL = "indexttsd-tokens"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PREFIX = "itts_"
_LARGEST_FILE = 1024**2
#: Root writes it, the daemon's group reads it.
_MODE = 0o640
_HEAD = "# Written by `indexttsd token`: name, SHA-256, day. While this file exists, a token is needed.\n"


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the file.

    Attributes:
        name: for people. digest: SHA-256 of the token, hexadecimal. created: the day, ISO 8601.
    """

    name: str
    digest: str
    created: str

    @classmethod
    def new(cls, name: str) -> tuple[Self, str]:
        """A token for the file, and what its holder sends."""
        secret = _PREFIX + secrets.token_urlsafe(32)
        return cls(name, _digest(secret), datetime.datetime.now(datetime.UTC).date().isoformat()), secret


class Tokens:
    """The tokens of all files that exist. While one of them exists, a token is needed, even if it holds none.

    Once needed, they stay so until the daemon ends: a file that vanished must not open the door.

    Args:
        places: the files, of which some may be missing.

    Raises:
        ConfigError: from the constructor and `read`: a file cannot be read or holds a line that is none of ours.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self._files = list(places)
        self._digests: dict[str, str] = {}
        self.needed = False
        self.adopt(self.read())

    def __len__(self) -> int:
        return len(self._digests)

    def read(self) -> list[Token] | None:
        """What the files hold now, which counts once it is adopted; None if there is no file."""
        found = [tokens for tokens in map(read_file, self._files) if tokens is not None]
        return [token for tokens in found for token in tokens] if found else None

    def adopt(self, tokens: Iterable[Token] | None) -> bool:
        """From now on these count; whether that changes anything."""
        before = self._digests, self.needed
        self._digests = {token.digest: token.name for token in tokens or []}
        self.needed = self.needed or tokens is not None
        return before != (self._digests, self.needed)

    def holder(self, authorization: str | None) -> str | None:
        """The name of the token in an Authorization header; None if there is none that we know."""
        kind, _, secret = (authorization or "").partition(" ")
        if kind.lower() != "bearer":  # RFC 9110, 11.1: a scheme's case does not matter
            return None
        sent, holder = _digest(secret.strip(" ")), None
        for digest, name in self._digests.items():  # all of them, always: how long it takes tells nothing
            if hmac.compare_digest(digest, sent):
                holder = name
        return holder


def read_file(file: Path) -> list[Token] | None:
    """The tokens in one file; None if there is none of that name.

    Raises:
        ConfigError: it cannot be read, or a line of it is wrong: never is that taken for "no tokens".
    """
    try:
        content = _content(file)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not file.is_symlink():
            return None
        raise ConfigError(f"the tokens in {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"the tokens in {file} cannot be read: it is not UTF-8") from None
    return list(_parsed(file, content.splitlines()))


def create(file: Path, name: str | None = None) -> tuple[Token, str]:
    """Put a new token into a file, which is made if it is missing; the token, and what its holder sends.

    Args:
        name: None: the first of token-1, token-2 ... that is free.

    Raises:
        BadRequest: that is no name. Conflict: it is taken. ConfigError: the file cannot be read or written.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise BadRequest(f"{name!r} is no name for a token; use up to 64 letters, digits, '.', '_' and '-'")
    with files.turn_at(file):
        tokens = _own(file) or []
        taken = {token.name for token in tokens}
        if name in taken:
            raise Conflict(f"{file} holds a token {name!r} already; revoke it first, or choose another name")
        free = (f"token-{number}" for number in range(1, len(taken) + 2))
        token, secret = Token.new(name or next(each for each in free if each not in taken))
        _write(file, [*tokens, token])
    return token, secret


def revoke(file: Path, name: str) -> int:
    """Take a token out of a file; how many are left. The file stays, so that a token is needed as before.

    Raises:
        NotFound: it holds none of that name. ConfigError: it cannot be read or written.
    """
    with files.turn_at(file):
        tokens = _own(file) or []
        left = [token for token in tokens if token.name != name]
        if len(left) == len(tokens):
            raise NotFound(f"{file} holds no token {name!r}; indexttsd token list shows them")
        _write(file, left)
    return len(left)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _content(file: Path) -> str:
    with open(file, "rb", opener=files.at_once) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"the tokens in {file} cannot be read: it is no regular file")
        if status.st_mode & stat.S_IWOTH:
            raise ConfigError(f"the tokens in {file} cannot be trusted: everybody may write to it; chmod 640 {file}")
        content = stream.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ConfigError(f"the tokens in {file} cannot be read: it is larger than {_LARGEST_FILE} bytes")
    return content.decode()


def _parsed(file: Path, lines: Iterable[str]) -> Iterable[Token]:
    names: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 3 or not _NAME.fullmatch(parts[0]) or not _HASH.fullmatch(parts[1]) or parts[0] in names:
            raise ConfigError(f"{file}, line {number}: not a token; only `indexttsd token` writes this file")
        names.add(parts[0])
        yield Token(*parts)


def _own(file: Path) -> list[Token] | None:
    """The tokens of a file that is to be written anew: a link would be replaced, and what it leads to stay as it is."""
    if file.is_symlink():
        raise ConfigError(f"{file} is a symbolic link; name the file itself in server.tokens_file")
    return read_file(file)


def _write(file: Path, tokens: Iterable[Token]) -> None:
    """Keep the group of the file; a new one gets that of its folder, which the daemon must be able to enter anyway."""
    lines = [f"{token.name} {token.digest} {token.created}\n" for token in tokens]
    try:
        group = (file if file.exists() else file.parent).stat().st_gid
        files.replace(file, "".join([_HEAD, *lines]).encode(), mode=_MODE, group=group)
    except OSError as error:
        raise ConfigError(f"the tokens in {file} cannot be written: {error.strerror}") from None
