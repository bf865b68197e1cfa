"""A daemon whose wall clock is off by the seconds in a file, which may change: `tests.shifted_clock FILE serve ...`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from daemon.__main__ import main

_true_time = time.time


def _shift(file: Path) -> float:
    try:
        return float(file.read_text())
    except (FileNotFoundError, ValueError):  # or just being written
        return 0.0


if __name__ == "__main__":
    shift = Path(sys.argv.pop(1))
    time.time = lambda: _true_time() + _shift(shift)
    time.time_ns = lambda: round(time.time() * 1e9)
    main()
