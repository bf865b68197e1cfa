"""Processes that may not outlive the daemon which started them, and how they ended."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Let the kernel kill this process when the thread of `parent` that started it is gone (prctl(2)).

    Args:
        parent: the process that started this one; should it be dead already, this one ends at once.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)


def how_it_ended(status: int) -> str:
    """The end of a process in words, from its return code (`subprocess.Popen.returncode`)."""
    if status >= 0:
        return f"ended with status {status}"
    known = {number.value: number.name for number in signal.Signals}
    return f"was killed by {known.get(-status, f'signal {-status}')}"  # real-time signals have no names of their own
