"""Talks to the running daemon over HTTP."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from collections.abc import Iterator, Mapping
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
        connection = http.client.HTTPConnection(self._server.host, self._server.port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, f"/api/tts/{path}", data, dict(headers or {}))
            response = connection.getresponse()
            status, answer = response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            where = f"{self._server.host}:{self._server.port}"
            raise DaemonUnreachable(f"no daemon answers at {where} ({error}); start it with: indexttsd serve") from None
        finally:
            connection.close()
        if status >= _REFUSED:
            raise RequestRefused(str(answer.get("detail", answer)))
        return dict(answer)


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
