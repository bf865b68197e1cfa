"""Log lines on standard error, of the daemon and of its engine alike: what came from outside cannot forge one."""

from __future__ import annotations

import logging
import sys


def set_up(level: str) -> None:
    """Log to standard error from `level` on, one line each; a traceback's lines are indented.

    Args:
        level: debug, info, warning or error.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _OneLine(logging.Formatter):
    """Shows control characters escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return _visible(super().formatMessage(record))

    def formatException(self, ei: logging._SysExcInfoType) -> str:  # noqa: N802 - the name is logging's
        return "\n".join(f"  {_visible(line)}" for line in super().formatException(ei).split("\n"))


def _visible(line: str) -> str:
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in line)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape", "surrogatepass").decode()
