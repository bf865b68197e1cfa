"""The socket we listen on: systemd's, a file, or an address; nothing that strangers reach unless they need a token."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

from daemon.config import ServerConfig
from daemon.errors import ConfigError, InUse

#: The first descriptor that systemd hands over (sd_listen_fds(3)).
_FIRST_INHERITED = 3
_BACKLOG = 1024
#: Whoever is in the group of the daemon may ask.
_SOCKET_MODE = 0o660


def listen(config: ServerConfig, *, guarded: bool) -> socket.socket:
    """The listening socket.

    Args:
        guarded: whether requests need a token, and there is one.

    Raises:
        ConfigError: strangers could ask there without a token, it is taken, or there is no such place.
    """
    check(config, guarded=guarded)
    if inherited := _inherited():
        _refuse_strangers(inherited, guarded=guarded)
        return inherited
    if config.unix_socket:
        return _on_file(config.unix_socket)
    family, address = _address(config)
    try:
        return socket.create_server((address, config.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {config.host} port {config.port}: {error.strerror}; is a daemon running already?"
        ) from None


def check(config: ServerConfig, *, guarded: bool) -> None:
    """See that it may be listened where the configuration says.

    Raises:
        ConfigError: strangers could ask there without a token, or there is no such place.
    """
    if config.unix_socket:
        return
    _, address = _address(config)
    if not guarded and not ipaddress.ip_address(address).is_loopback:
        raise ConfigError(_STRANGERS.format(what=f"server.host {config.host}"))


def shown(listener: socket.socket) -> str:
    """Where it listens, for people."""
    if listener.family == socket.AF_UNIX:
        return f"the socket {listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


_STRANGERS = (
    "{what} is reachable from other machines, and there is no token to keep strangers out; make one with "
    "`indexttsd token new`, or listen on 127.0.0.1"
)


def _address(config: ServerConfig) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"server.host {config.host!r} is no address of this machine: {error}") from None
    family, _, _, _, address = found[0]
    return family, str(address[0])


def _inherited() -> socket.socket | None:
    """The socket of a systemd socket unit, if it started us; our own children are not to believe it is theirs."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return None
    if count != "1":
        raise ConfigError(f"systemd handed over {count} sockets; a socket unit with one ListenStream is needed")
    os.set_inheritable(_FIRST_INHERITED, False)
    return socket.socket(fileno=_FIRST_INHERITED)


def _refuse_strangers(listener: socket.socket, *, guarded: bool) -> None:
    if guarded or listener.family == socket.AF_UNIX:
        return
    host = listener.getsockname()[0]
    if not ipaddress.ip_address(host).is_loopback:
        listener.close()
        raise ConfigError(_STRANGERS.format(what=f"the socket unit's address {host}"))


def _on_file(file: Path) -> socket.socket:
    _remove_stale(file)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(file))
        file.chmod(_SOCKET_MODE)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on server.unix_socket {file}: {error.strerror or error}") from None
    return listener


def _remove_stale(file: Path) -> None:
    """A killed daemon leaves its socket behind; one that answers is in use, and anything else is not ours."""
    try:
        if not stat.S_ISSOCK(file.lstat().st_mode):
            raise ConfigError(f"server.unix_socket {file} is there already, and it is no socket; remove it")
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        found = probe.connect_ex(str(file))
    if found == errno.ECONNREFUSED:
        with contextlib.suppress(OSError):
            file.unlink()
    else:
        raise InUse(f"cannot listen on server.unix_socket {file}: somebody listens there already")
