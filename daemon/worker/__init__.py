"""The worker: `loop` takes what is next, a `crew` speaks it, `picking` chooses who shares a call, `fate` says what a
fault means.
"""

from daemon.worker.loop import Worker
from daemon.worker.rooms import Rooms

__all__ = ["Rooms", "Worker"]
