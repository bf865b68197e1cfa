"""indexttsd: a daemon that turns texts into speech in the background."""

__version__ = "0.1.0"
