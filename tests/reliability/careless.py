"""A daemon that brings nothing to the disk: `python -m tests.reliability.careless files|ledger serve --config F`.

With `files` fsync does nothing; with `ledger` SQLite does not ask for it. It is the control of the power cuts: a test
that finds no fault with this one finds none with any.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from daemon.__main__ import main
from daemon.store import database


def forget_files() -> None:
    os.fsync = lambda _descriptor: None


def forget_ledger() -> None:
    set_up = database._set_up

    def careless(engine: Any, begin: str, *pragmas: str) -> None:
        set_up(engine, begin, *(pragma.replace("synchronous=FULL", "synchronous=OFF") for pragma in pragmas))

    database._set_up = careless


if __name__ == "__main__":
    {"files": forget_files, "ledger": forget_ledger}[sys.argv.pop(1)]()
    main()
