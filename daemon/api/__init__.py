"""The HTTP door."""

from daemon.api.channel import Bounds
from daemon.api.guard import Guard
from daemon.api.listening import adopt, check, handed_over, leave, listen, shown, web_address
from daemon.api.routes import Api
from daemon.api.server import Server

__all__ = [
    "Api",
    "Bounds",
    "Guard",
    "Server",
    "adopt",
    "check",
    "handed_over",
    "leave",
    "listen",
    "shown",
    "web_address",
]
