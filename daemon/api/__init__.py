"""The HTTP door."""

from daemon.api.guard import Guard
from daemon.api.listening import check, listen, shown
from daemon.api.routes import Api
from daemon.api.server import Server

__all__ = ["Api", "Guard", "Server", "check", "listen", "shown"]
