"""What the worker works with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from daemon.bell import Bell
from daemon.host import Host
from daemon.life import Sign
from daemon.outputs import Outputs
from daemon.prompts import Prompts
from daemon.space import Space
from daemon.spool import Spool
from daemon.store import Store
from daemon.troubles import Troubles

#: As whom the worker tells its troubles.
SUBJECT = "worker"


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms below the worker, and what all of its parts must know.

    Attributes:
        max_attempts: how often a speech may take the engine down before it is given up.
        space: whether there is room for what is spoken. troubles: where the worker tells why it waits.
        sign: how the worker shows that it lives.
        stop: set when the daemon is being stopped.
    """

    store: Store
    host: Host
    prompts: Prompts
    outputs: Outputs
    spool: Spool
    bell: Bell
    max_attempts: int
    space: Space
    troubles: Troubles
    sign: Sign = field(default_factory=Sign)
    stop: threading.Event = field(default_factory=threading.Event)
