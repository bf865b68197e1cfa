"""Talks to the running daemon over HTTP."""

from __future__ import annotations

import http
import http.client
import json
import os
import socket
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from daemon.config import ServerConfig
from daemon.errors import BadRequest, DaemonUnreachable, RequestRefused

_TIMEOUT_SECONDS = 60
_REFUSED = 400


class Client:
    """The API as methods; every answer is the parsed JSON.

    Raises:
        DaemonUnreachable: nobody answers. RequestRefused: with the daemon's own sentence.
    """

    def __init__(self, server: ServerConfig) -> None:
        self._server = server

    def submit(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Post one task or batch, told apart by `speeches`."""
        body = {key: value for key, value in item.items() if key != "idempotency_key"}
        key = item.get("idempotency_key")
        headers = {} if key is None else {"Idempotency-Key": _header(key)}
        return self._ask("POST", "batch_tasks" if "speeches" in item else "tasks", body, headers)

    def tasks(self, status: str | None, limit: int) -> dict[str, Any]:
        """The newest tasks."""
        query = {"limit": limit} | ({"status": status} if status else {})
        return self._ask("GET", f"tasks?{urllib.parse.urlencode(query)}")

    def show(self, task_id: str) -> dict[str, Any]:
        """One task."""
        return self._ask("GET", f"tasks/{urllib.parse.quote(task_id, safe='')}")

    def cancel(self, task_id: str) -> dict[str, Any]:
        """Cancel a task."""
        return self._ask("DELETE", f"tasks/{urllib.parse.quote(task_id, safe='')}")

    def retry(self, task_id: str) -> dict[str, Any]:
        """Retry a task."""
        return self._ask("POST", f"tasks/{urllib.parse.quote(task_id, safe='')}/retry")

    def _ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        token = _token()
        sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        connection = _connection(self._server)
        try:
            connection.request(method, f"/api/tts/{path}", data, sent)
            response = connection.getresponse()
            status, answer = response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DaemonUnreachable(_unreachable(self._server, error)) from None
        finally:
            connection.close()
        if status == http.HTTPStatus.UNAUTHORIZED:
            raise RequestRefused(_KNOWS_NOT if token else _WANTS_ONE)
        if status >= _REFUSED:
            raise RequestRefused(str(answer.get("detail", answer)))
        return dict(answer)


_WANTS_ONE = (
    "the daemon wants a token; put the one you were given into the variable INDEXTTSD_TOKEN, or into a file that "
    "INDEXTTSD_TOKEN_FILE names"
)
_KNOWS_NOT = "the daemon does not know the token in INDEXTTSD_TOKEN or INDEXTTSD_TOKEN_FILE: it may be revoked"
#: To whom one talks who listens everywhere.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class _OnFile(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, file: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._file = file

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._file))


def _connection(server: ServerConfig) -> http.client.HTTPConnection:
    if server.unix_socket:
        return _OnFile(server.unix_socket)
    return http.client.HTTPConnection(_LOOPBACK.get(server.host, server.host), server.port, timeout=_TIMEOUT_SECONDS)


def _unreachable(server: ServerConfig, error: Exception) -> str:
    where = str(server.unix_socket or f"{server.host}:{server.port}")
    if isinstance(error, PermissionError) and server.unix_socket:
        return f"you may not use {where}; who is in the group of that socket may (ls -l {where} shows it)"
    return f"no daemon answers at {where} ({error}); start it with: indexttsd serve"


def _token() -> str | None:
    """What INDEXTTSD_TOKEN holds, or else the file that INDEXTTSD_TOKEN_FILE names."""
    token, file = os.environ.get("INDEXTTSD_TOKEN"), os.environ.get("INDEXTTSD_TOKEN_FILE")
    if not token and file:
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise BadRequest(f"INDEXTTSD_TOKEN_FILE {file} cannot be read: {reason}") from None
    if token and not (token.isascii() and token.isprintable()):
        raise BadRequest("the token in INDEXTTSD_TOKEN or INDEXTTSD_TOKEN_FILE is none: it has signs no token has")
    return token or None


def _header(key: object) -> str:
    if not isinstance(key, str) or not key.isascii() or not key.isprintable():
        raise BadRequest("over HTTP an idempotency key must be a string of printable ASCII characters")
    return key


def follow(client: Client, task_id: str, wait: float) -> Iterator[dict[str, Any]]:
    """A task's views, one every `wait` seconds, until it is over."""
    while True:
        view = client.show(task_id)
        yield view
        if view["status"] in ("completed", "failed"):
            return
        time.sleep(wait)
