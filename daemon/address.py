"""What a configuration says about the HTTP door: where it is, by which names, and who may ask there."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.api import adopt, check, leave, listen, web_address
from daemon.config import Config
from daemon.errors import ConfigError
from daemon.tokens import CREDENTIAL, Tokens

log = logging.getLogger("indexttsd")


def tokens(config: Config) -> Tokens:
    """The tokens of the configured file, and of the one that systemd hands over.

    Raises:
        ConfigError: one of them cannot be read.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    return Tokens([config.server.tokens_file, *([Path(credentials) / CREDENTIAL] if credentials else [])])


def hosts(config: Config) -> list[str]:
    """The names by which a client may call the server, besides those of loopback."""
    return [config.server.host, *config.server.hosts]


def look(config: Config, *, more_tokens: bool = False) -> Tokens:
    """See that the server may listen where it is told to; the tokens that are needed there.

    Args:
        more_tokens: whether the daemon may know tokens that we cannot see: systemd's, which no command of its is given.

    Raises:
        ConfigError: strangers could reach it there, or there is no such place, or the tokens cannot be read.
    """
    found = tokens(config)
    with _naming_the_key(config):
        check(config.server, guarded=more_tokens or bool(len(found)))
    return found


def shown(config: Config) -> str:
    """Where the configuration says it is, for people."""
    server = config.server
    if server.unix_socket:
        return f"the socket {server.unix_socket}"
    return web_address(server.host, server.port)


def listener(
    config: Config, known: Tokens, handed_over: socket.socket | None
) -> tuple[socket.socket, Callable[[], None]]:
    """The listening socket, and what to do before it is closed.

    Raises:
        ConfigError: strangers could reach it there without a token, it is taken, or there is no such place.
    """
    guarded = bool(len(known))
    if handed_over:
        log.info("systemd handed over the socket: server.host, port and unix_socket are not heeded")
        return adopt(handed_over, guarded=guarded), lambda: None
    with _naming_the_key(config):
        return listen(config.server, guarded=guarded), functools.partial(leave, config.server)


@contextlib.contextmanager
def _naming_the_key(config: Config) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        key = next((key for key in ("unix_socket", "host") if f"server.{key}" in str(error)), "port")
        raise config.complaint(str(error), "server", key) from None
