"""A daemon that dies at a step: `python -m tests.reliability.dying TARGET,... serve --config F`.

Each target is a function or class of the daemon's, such as `daemon.store:Store.claim`. The daemon is one like any other
until a file `die_at` lies in its working folder, which holds when, the number of the call, counted from then on, and
the target: `after 2 daemon.store:Store.claim`. It is killed by SIGKILL then, as nothing can prepare for.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from daemon.__main__ import main

DIE_AT = Path("die_at")


def make_mortal(target: str) -> None:
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    setattr(owner, name, _mortal(getattr(owner, name), target))


def _mortal(original: Any, target: str) -> Any:
    counted = 0

    @functools.wraps(original, updated=())
    def call(*args: Any, **keys: Any) -> Any:
        nonlocal counted
        when = _when(target, counted + 1)
        counted = counted + 1 if DIE_AT.exists() else 0
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **keys)
        if when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def _when(target: str, number: int) -> str | None:
    """`before` or `after` if this call of this target is the one to die at."""
    try:
        when, due, named = DIE_AT.read_text().split()
    except FileNotFoundError:
        return None
    return when if named == target and int(due) == number else None


if __name__ == "__main__":
    for one in sys.argv.pop(1).split(","):
        make_mortal(one)
    main()
