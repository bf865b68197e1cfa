"""The log, of the daemon and of its engine alike: what came from outside can neither forge a line nor be read there.

Records may carry `task`, a task's id or several, and `action`, the name of what happened, in their `extra`.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import TextIO

from daemon.errors import ConfigError, LedgerBroken, MachineTrouble
from daemon.journal import Journal, is_our_stderr

log = logging.getLogger("indexttsd")

#: Exceptions whose words speak of the machine. Those of any other may quote the text that was being worked on.
_OF_THE_MACHINE = (OSError, ImportError, MemoryError, sqlite3.Error, ConfigError, LedgerBroken, MachineTrouble)
#: logging's levels as syslog's (sd-daemon(3)), the highest first.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}

_texts = False


def set_up(level: str, *, texts: bool = False) -> None:
    """Log from `level` on: to the journal, if standard error leads there, else one line each to standard error.

    Args:
        level: debug, info, warning or error.
        texts: whether texts of tasks may be shown, as `log.texts` says.
    """
    global _texts  # noqa: PLW0603 - as the log itself, it is one for the whole process
    _texts = texts
    handler = _to_journal() if is_our_stderr() else _to_stderr()
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    threading.excepthook = _thread_broke


def texts_are_shown() -> bool:
    """Whether texts of tasks may stand in the log."""
    return _texts


def words(error: BaseException) -> str:
    """An exception as it may stand in the log: its name, and what it says unless that may quote a text."""
    name = type(error).__name__
    return f"{name}: {error}" if _texts or isinstance(error, _OF_THE_MACHINE) else name


def _to_stderr() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    return handler


def _to_journal() -> logging.Handler:
    handler = _ToJournal(Journal(), sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))  # it knows the rest by the fields
    return handler


class _OneLine(logging.Formatter):
    """Shows control characters escaped, a traceback's lines indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return _visible(super().formatMessage(record))

    def formatException(self, ei: logging._SysExcInfoType) -> str:  # noqa: N802 - the name is logging's
        lines = "".join(_told(ei[1], set()) if ei[1] else []).rstrip("\n").split("\n")
        return "\n".join(f"  {_visible(line)}" for line in lines)


class _ToJournal(logging.Handler):
    """Hands records over by journald's protocol; to standard error, which leads there too, if nobody takes them."""

    def __init__(self, journal: Journal, stderr: TextIO) -> None:
        super().__init__()
        self._journal = journal
        self._stderr = stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one record."""
        try:
            told = self.format(record)
            try:
                self._journal.send(_fields(record, told))
            except OSError:
                print(*_prefixed(record, told), sep="\n", file=self._stderr, flush=True)
        except Exception:  # noqa: BLE001 - as all of logging's handlers do
            self.handleError(record)

    def close(self) -> None:
        """Give the line back."""
        self._journal.close()
        super().close()


def _fields(record: logging.LogRecord, told: str) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", told
    yield "PRIORITY", str(_priority(record))
    yield "SYSLOG_IDENTIFIER", "indexttsd"
    yield "LOGGER", record.name
    yield "CODE_FILE", record.pathname
    yield "CODE_LINE", str(record.lineno)
    yield "CODE_FUNC", record.funcName
    if action := getattr(record, "action", None):
        yield "INDEXTTSD_ACTION", action
    tasks = getattr(record, "task", ())
    for task in [tasks] if isinstance(tasks, str) else tasks:
        yield "INDEXTTSD_TASK", task


def _prefixed(record: logging.LogRecord, told: str) -> list[str]:
    return [f"<{_priority(record)}>{line}" for line in told.split("\n")]


def _priority(record: logging.LogRecord) -> int:
    return next((priority for level, priority in _PRIORITIES.items() if record.levelno >= level), 7)


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    """A traceback like Python's, in which an exception says no more than `words`."""
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before and id(before) not in seen:
        yield from _told(before, seen)
        yield "and then\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{words(error)}\n"


def _thread_broke(what: threading.ExceptHookArgs) -> None:
    """Python itself would print it past the log, with all it says."""
    name = what.thread.name if what.thread else "that ended"
    log.critical("the thread %s broke", name, exc_info=what.exc_value, extra={"action": "thread_broke"})


def _visible(line: str) -> str:
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in line)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape", "surrogatepass").decode()
