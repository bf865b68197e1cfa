"""A daemon of which a room may hang: `python -m tests.reliability.hanging ROOM serve --config F`.

ROOM hangs from the moment that a file `hang` lies in the working directory, and goes on when it is gone. The grace of
minutes is one of seconds here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon import life
from daemon.__main__ import main
from daemon.api import Guard, Server
from daemon.inbox import Inbox
from daemon.worker import Worker

#: Long enough for a healthy room on a busy machine, between two signs. Seconds.
GRACE = 5.0


def hang_in(owner: type, name: str) -> None:
    """Let a method hang before it does anything."""
    original: Callable[..., Any] = getattr(owner, name)

    def hanging(*args: Any, **kwargs: Any) -> Any:
        while Path("hang").exists():
            time.sleep(0.05)
        return original(*args, **kwargs)

    setattr(owner, name, hanging)


#: The room as a test names it -> where it hangs.
PLACES = {
    "inbox": (Inbox, "scan"),
    "worker": (Worker, "step"),
    "HTTP loop": (Server, "_turn"),
    "HTTP threads": (Guard, "__call__"),
}

if __name__ == "__main__":
    life.GRACE = GRACE
    if room := sys.argv.pop(1):
        hang_in(*PLACES[room])
    main()
