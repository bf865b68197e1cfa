"""The daemon's command at a terminal of its own, which is standard input: `python -m tests.at_terminal serve ...`."""

from __future__ import annotations

import fcntl
import termios

from daemon.__main__ import main

if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the kernel tells whoever it controls that it was closed
    main()
