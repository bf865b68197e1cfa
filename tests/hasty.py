"""A daemon whose stop waits for the engine as many seconds as the first argument says: `tests.hasty 0.5 serve ...`."""

from __future__ import annotations

import sys

import daemon.app
from daemon.__main__ import main

if __name__ == "__main__":
    daemon.app.STOP_PATIENCE = float(sys.argv.pop(1))
    main()
