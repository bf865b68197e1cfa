"""The HTTP door of a daemon without its worker: real HTTP, ledger and folders, and tasks that wait for the test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from pathlib import Path
from typing import Any, Self

from daemon import config
from daemon.api import Api, Bounds, Guard, Server, listen
from daemon.bell import Bell
from daemon.config import ServerConfig
from daemon.intake import Intake
from daemon.outputs import Outputs
from daemon.premises import engine_spec, make_folders
from daemon.prompts import Prompts
from daemon.store import Claim, Gain, Store
from tests.live import PATIENCE, LiveDaemon, free_port


class Door(LiveDaemon):
    """Open from the start; `close` ends it. The test itself is the worker, by way of `store`.

    Args:
        ledger: a migrated one without tasks, to copy.
    """

    def __init__(self, folder: Path, ledger: Path, **settings: dict[str, Any]) -> None:
        super().__init__(folder, **settings)
        settled = config.load(self.config)
        make_folders(settled)
        shutil.copy(ledger, folder / "state" / "indexttsd.db")
        self.not_ready: str | None = None
        self.store = Store(folder / "state" / "indexttsd.db")
        prompts = Prompts(settled.paths.prompts, settled.prompts.default)
        outputs = Outputs(settled.output.roots)
        self.intake = Intake(self.store, prompts, outputs, engine_spec(settled), settled.limits)
        api = Api(self.store, self.intake, prompts, outputs, Bell(), self._health, settled.server.max_body_bytes)
        guard = Guard(api.wsgi(), settled.server.hosts, settled.server.cors_origins)
        self.server = Server(guard, listen(ServerConfig(port=self.port), guarded=False))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def _health(self) -> tuple[dict[str, str], str | None, int]:
        return {"name": "tone", "state": "ready"}, self.not_ready, 0

    def close(self) -> None:
        self.server.close()
        self.thread.join(PATIENCE)
        self.store.close()
        assert not self.thread.is_alive()

    def claim(self) -> Claim:
        """Take the next waiting speech, as the worker does."""
        claimed = self.store.claim()
        assert claimed is not None
        return claimed

    def complete(self, claimed: Claim) -> None:
        """Make the speech's file, as the worker does."""
        self.store.planned(claimed, 1, 0, survived=True)
        self.store.advance(Gain(claimed, 1, 0.5, 0.25))
        file = Path(claimed.directory) / claimed.file_name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(range(200)))
        self.store.complete(claimed, 0.5)

    def clear(self) -> None:
        """Let nothing wait any more."""
        while claimed := self.store.claim():
            self.store.fail(claimed, "cleared")

    def raw(self, request: bytes) -> bytes:
        """Everything that comes back for these bytes until the server hangs up."""
        return exchange(self.port, request)


class Running:
    """A server over one application, in a thread, until the end of a `with`."""

    def __init__(self, app: Any, **bounds: Any) -> None:
        self.port = free_port()
        self.server = Server(app, listen(ServerConfig(port=self.port), guarded=False), Bounds(**bounds))
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()  # a second time, in some tests

    def stop(self) -> None:
        self.server.close()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def connected(self) -> socket.socket:
        return connected(self.port)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def exchange(port: int, request: bytes) -> bytes:
    """Send bytes, and read until the server hangs up; it resets the line when it has not read everything."""
    answer = b""
    with connected(port) as line, contextlib.suppress(ConnectionResetError):
        line.sendall(request)
        while part := line.recv(65536):
            answer += part
    return answer


def http(first: str, *headers: str, host: str | None = "127.0.0.1", body: bytes = b"") -> bytes:
    """The bytes of one request that closes the connection; `host` None leaves the header out."""
    hosts = [] if host is None else [f"Host: {host}"]
    lines = [f"{first} HTTP/1.1", *hosts, "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
