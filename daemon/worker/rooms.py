"""What the worker works with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from daemon.bell import Bell
from daemon.host import Host
from daemon.outputs import Outputs
from daemon.prompts import Prompts
from daemon.spool import Spool
from daemon.store import Store


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms below the worker, and what all of its parts must know.

    Attributes:
        max_attempts: how often a speech may take the engine down before it is given up.
        stop: set when the daemon is being stopped.
    """

    store: Store
    host: Host
    prompts: Prompts
    outputs: Outputs
    spool: Spool
    bell: Bell
    max_attempts: int
    stop: threading.Event = field(default_factory=threading.Event)
