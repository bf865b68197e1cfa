"""The socket we listen on: systemd's, a file, or an address; nothing that strangers reach unless they need a token."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

from daemon import files
from daemon.config import ServerConfig
from daemon.errors import ConfigError, InUse

#: The first descriptor that systemd hands over (sd_listen_fds(3)).
_FIRST_INHERITED = 3
_BACKLOG = 1024
#: Whoever is in the group of the daemon may ask.
_SOCKET_MODE = 0o660
#: unix(7): sun_path has 108 bytes, the last of them 0.
_LONGEST_NAME = 107


def listen(config: ServerConfig, *, guarded: bool) -> socket.socket:
    """The listening socket where the configuration says.

    Args:
        guarded: whether requests need a token, and there is one.

    Raises:
        ConfigError: strangers could ask there without a token, it is taken, or there is no such place.
    """
    check(config, guarded=guarded)
    if config.unix_socket:
        return _on_file(config.unix_socket)
    family, address = _addresses(config)[0]
    try:
        return socket.create_server((address, config.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        where = "server.host " if error.errno == errno.EADDRNOTAVAIL else ""  # or else it is the port's fault
        advice = "; is a daemon running already?" if error.errno == errno.EADDRINUSE else ""
        reason = os.strerror(error.errno or 0)
        raise ConfigError(f"cannot listen on {where}{config.host} port {config.port}: {reason}{advice}") from None


def check(config: ServerConfig, *, guarded: bool) -> None:
    """See that it may be listened where the configuration says; nothing is opened or touched.

    Raises:
        ConfigError: strangers could ask there without a token, or there is no such place.
    """
    if config.unix_socket:
        size = len(os.fsencode(config.unix_socket))
        if size > _LONGEST_NAME:
            raise ConfigError(
                f"server.unix_socket {config.unix_socket} has {size} bytes, and the name of a socket may have "
                f"{_LONGEST_NAME}; choose a shorter one"
            )
        return
    addresses = _addresses(config)
    if not guarded and not all(ipaddress.ip_address(address).is_loopback for _, address in addresses):
        raise ConfigError(_STRANGERS.format(what=f"server.host {config.host}"))


def leave(config: ServerConfig) -> None:
    """Remove the socket's file. Called while it is still listened on: nobody else's can have its name."""
    if config.unix_socket:
        config.unix_socket.unlink(missing_ok=True)


def shown(listener: socket.socket) -> str:
    """Where it listens, for people."""
    if listener.family == socket.AF_UNIX:
        return f"the socket {listener.getsockname()}"
    return web_address(*listener.getsockname()[:2])


def web_address(host: str, port: int) -> str:
    """As it is typed into a browser."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def handed_over() -> socket.socket | None:
    """The socket of a systemd socket unit, if it started us (sd_listen_fds(3)); no child of ours sees it.

    Raises:
        ConfigError: it handed over something else than one listening stream socket.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return None
    if count != "1":
        raise ConfigError(f"systemd handed over {count} sockets; a socket unit with one ListenStream= is needed")
    try:
        os.set_inheritable(_FIRST_INHERITED, False)
        found = socket.socket(fileno=_FIRST_INHERITED)
        listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigError(f"what systemd handed over is no socket: {error.strerror}") from None
    if not listening or found.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        raise ConfigError("systemd handed over no listening socket; ListenStream= and Accept=no are needed")
    return found


def adopt(handed: socket.socket, *, guarded: bool) -> socket.socket:
    """A descriptor of our own for systemd's socket: a start that is tried again closes it, and needs it anew.

    Raises:
        ConfigError: strangers could ask there without a token.
    """
    if not guarded and handed.family != socket.AF_UNIX:
        host = handed.getsockname()[0]
        if not ipaddress.ip_address(host).is_loopback:
            raise ConfigError(_STRANGERS.format(what=f"the socket unit's address {host}"))
    return handed.dup()


_STRANGERS = (
    "{what} is reachable from other machines, and there is no token to keep strangers out; make one with "
    "`indexttsd token new`, or listen on 127.0.0.1"
)


def _addresses(config: ServerConfig) -> list[tuple[socket.AddressFamily, str]]:
    """What the name stands for, at least one; we listen on the first."""
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"server.host {config.host!r} is no address of this machine: {error}") from None
    return [(family, str(address[0])) for family, _, _, _, address in found]


def _on_file(file: Path) -> socket.socket:
    if not file.parent.is_dir():
        raise ConfigError(f"cannot listen on server.unix_socket {file}: there is no folder {file.parent}; make it")
    with files.turn_at(file):  # or one that was just made, and is not listened on yet, would look stale
        _remove_stale(file)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(file))
            file.chmod(_SOCKET_MODE)  # before `listen`: until then everybody is refused
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise ConfigError(f"cannot listen on server.unix_socket {file}: {error.strerror or error}") from None
    return listener


def _remove_stale(file: Path) -> None:
    """A killed daemon leaves its socket behind; one that answers is in use, and anything else is not ours."""
    try:
        kind = file.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ConfigError(f"server.unix_socket {file} is there already, and it is no socket; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # somebody who does not accept must not hold us up
        found = probe.connect_ex(str(file))
    if found in (0, errno.EAGAIN):
        raise InUse(f"cannot listen on server.unix_socket {file}: somebody listens there already")
    if found != errno.ECONNREFUSED:
        raise ConfigError(f"cannot listen on server.unix_socket {file}, which is there already: {os.strerror(found)}")
    with contextlib.suppress(OSError):  # then it cannot be bound, and that is told
        file.unlink()
