"""A file that cannot be handled must keep neither the others waiting nor the daemon from starting."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from daemon import logs
from daemon.errors import LedgerBroken, LedgerDamaged, MachineTrouble
from daemon.life import Sign
from daemon.space import trouble

log = logging.getLogger("indexttsd.inbox")


class Stuck:
    """The files that stay for now: tried again at each look, and told once.

    Args:
        sign: each file is a sign of life, for a folder may hold a hundred thousand.
    """

    def __init__(self, sign: Sign) -> None:
        self._sign = sign
        self._names: set[str] = set()

    @contextlib.contextmanager
    def told(self, name: str) -> Iterator[None]:
        """Handle one file; what goes wrong with it is logged and ends here.

        Raises:
            MachineTrouble, LedgerBroken, LedgerDamaged: these are not about this file.
        """
        self._sign.within()
        try:
            yield
        except (MachineTrouble, LedgerBroken, LedgerDamaged):
            raise
        except Exception as error:
            if name not in self._names:
                foreseen = isinstance(error, OSError)
                why = error if foreseen else logs.words(error)
                log.error("%r stays for now: %s", name, why, exc_info=not foreseen, extra={"action": "file_stuck"})
            self._names.add(name)
        else:
            self._names.discard(name)


@contextlib.contextmanager
def blaming_the_disk(folder: Path) -> Iterator[None]:
    """Change something in the inbox `folder`.

    Raises:
        StorageUnavailable: the disk takes nothing for now, whichever file it is.
        OSError: it is about this one file.
    """
    try:
        yield
    except OSError as error:
        if passing := trouble(error, f"the inbox {folder}"):
            raise passing from None
        raise
