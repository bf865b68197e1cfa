"""Who may ask over HTTP. A file holds names and hashes; a token itself is shown once, and kept nowhere.

A token has 32 random bytes, so its plain SHA-256 cannot be guessed back and needs no slow hash.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from daemon.errors import ConfigError

#: The name under which systemd hands over a file of tokens (LoadCredential=).
CREDENTIAL = "indexttsd-tokens"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PREFIX = "itts_"


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
        return cls(name, digest_of(secret), datetime.datetime.now(datetime.UTC).date().isoformat()), secret


def digest_of(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """The tokens of all files that exist. While one of them exists, a token is needed, even if it holds none.

    Once needed, they stay so until the daemon ends: a file that vanished must not open the door.

    Args:
        files: where they may be.

    Raises:
        ConfigError: from the constructor and `read`: a file cannot be read or holds a line that is none of ours.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._digests: dict[str, str] = {}
        self.needed = False
        self.read()

    def __len__(self) -> int:
        return len(self._digests)

    def read(self) -> None:
        """Read the files anew; what was read before holds if that fails."""
        found = [read_file(file) for file in self._files if os.path.lexists(file)]
        self._digests = {token.digest: token.name for tokens in found for token in tokens}
        self.needed = self.needed or bool(found)

    def holder(self, authorization: str | None) -> str | None:
        """The name of the token in an Authorization header; None if there is none that we know."""
        kind, _, secret = (authorization or "").partition(" ")
        if kind.lower() != "bearer":
            return None
        sent = hashlib.sha256(secret.strip().encode("utf-8", "surrogateescape")).hexdigest()
        holder = None
        for digest, name in self._digests.items():  # all of them, always: how long it takes tells nothing
            if hmac.compare_digest(digest, sent):
                holder = name
        return holder


def read_file(file: Path) -> list[Token]:
    """The tokens in one file.

    Raises:
        ConfigError: it cannot be read, or a line of it is wrong.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the tokens in {file} cannot be read: {reason}") from None
    return list(_parsed(file, lines))


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
