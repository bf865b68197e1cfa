"""The HTTP door."""

from daemon.api.guard import Guard
from daemon.api.routes import Api
from daemon.api.server import Server, listen, loopback_address

__all__ = ["Api", "Guard", "Server", "listen", "loopback_address"]
