"""A hub for weights, as far as a download needs one: HEAD and GET of files, ETags, ranges, big files elsewhere."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Mapping
from pathlib import Path

from daemon.engines.weights import Weights
from tests.weight_files import content

#: Files of these kinds are "big": the hub sends whoever wants them to another address, with their SHA-256 for an ETag.
_BIG = (".pth", ".pt", ".bin", ".safetensors")


def git_blob(whole: bytes) -> str:
    """What git, and so the hub, calls a small file's content."""
    return hashlib.sha1(f"blob {len(whole)}\0".encode() + whole).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """Serves `files`, keyed `repo/path`.

    Attributes:
        refusals: status codes to answer for a file instead.
        stumbles: files that are answered with 503 the first time.
        stalls: files of which only so many bytes are sent; then the connection stays open until `close`.
        breaks: files after so many bytes of which the connection is cut.
        lies: files of which other bytes are sent than their ETag says.
        claims: sizes in bytes that files pretend to have.
        asked: (method, file, Range header) of every request, in order.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.refusals: dict[str, int] = {}
        self.stumbles: set[str] = set()
        self.stalls: dict[str, int] = {}
        self.breaks: dict[str, int] = {}
        self.lies: set[str] = set()
        self.claims: dict[str, int] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def ranges(self, file: str) -> list[str | None]:
        """With what Range the content of a file was asked for."""
        return [wanted for method, name, wanted in self.asked if method == "GET" and name == file]


def serving(weights: Weights) -> Hub:
    """A hub with every file of these weights."""
    return Hub({f"{file.repo}/{file.source}": content(file.source) for file in weights.files if file.repo})


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """The test says what matters."""

    def _answer(self) -> None:
        place, _, name = self.path[1:].partition("/")
        if place == "cdn":
            whole = self.server.files[name]
            self._send(name, bytes(len(whole)) if name in self.server.lies else whole)
            return
        name = self.path[1:].replace("/resolve/main/", "/", 1)
        whole = self.server.files.get(name)
        status = self.server.refusals.get(name) or (200 if whole is not None else 404)
        if name in self.server.stumbles:
            self.server.stumbles.remove(name)
            status = 503
        if status != 200 or whole is None:
            self._head(status, {"X-Error-Code": "EntryNotFound"} if status == 404 else {}, 0)
        elif Path(name).suffix in _BIG:
            digest = hashlib.sha256(whole).hexdigest()
            size = self.server.claims.get(name, len(whole))
            linked = {"Location": f"{self.server.address}/cdn/{name}", "X-Linked-Size": str(size)}
            self._head(302, linked | {"X-Linked-Etag": f'"{digest}"', "X-Repo-Commit": "0" * 40}, 0)
        else:
            self._send(name, whole)

    def _send(self, name: str, whole: bytes) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.command, name, wanted))
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        sent = {"ETag": f'"{git_blob(whole)}"', "X-Repo-Commit": "0" * 40}
        if wanted:
            sent["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        self._head(206 if wanted else 200, sent, len(whole) - start)
        if self.command == "GET":
            self._body(name, whole[start:])

    def _body(self, name: str, body: bytes) -> None:
        limit = min(self.server.stalls.get(name, len(body)), self.server.breaks.get(name, len(body)))
        self.wfile.write(body[:limit])
        self.wfile.flush()
        if name in self.server.stalls:
            self.server.closing.wait()
        if limit < len(body):
            self.close_connection = True

    def _head(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
