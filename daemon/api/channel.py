"""A client's connection: what the server itself refuses, and how long it waits for whom."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge

from daemon.api.answers import RETRY_AFTER, SAFE_HEADERS, error_body, incident
from daemon.api.bodies import Body, Larder

_SENTENCES = {
    413: "the body is too large; server.max_body_bytes is the limit",
    431: "the address and the headers are too long; 16 KiB is the limit",
    503: "too many large requests are coming in at once; try again later",
}
#: Longest line between two chunks, and longest trailer behind the last, in bytes. waitress bounds neither, and looks
#: through them from their beginning at every packet.
_CHUNK_LINE, _CHUNK_TRAILER = 1024, 16 * 1024
#: From so many bytes on, a quarter of what comes in chunks must be body: chunks of one byte cost the loop, which all
#: clients share, a thousand times what they cost their sender.
_CHUNKS_LOOKED_AT = 64 * 1024
# waitress's own patterns for these two go back and forth over what they cannot match: one line of 16 KiB held the
# server for a minute.
_FIRST_LINE = re.compile(rb"[^ ]+ [^ ]+( HTTP/[0-9]\.[0-9])?")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much clients may ask of the server.

    Attributes:
        connections: open ones; who comes beyond them takes the place of whoever is waited for longest.
        patience: seconds that a client may be silent, or take for a request or an answer ...
        pace: ... besides its size divided by this, in bytes a second. Less than any sound needs that is listened to
            while it comes.
        body_bytes: largest body that is kept.
        room: bytes of bodies, and of answers that are not files, kept for all clients together.
    """

    connections: int = 2000
    patience: float = 30
    pace: float = 4096
    body_bytes: int = 4 * 1024**2
    room: int = 64 * 1024**2


class _Crowded(Error):  # type: ignore[misc]
    code = 503
    reason = "Service Unavailable"


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """A request as it comes in.

    Args:
        answered: called when it is no longer needed.

    Attributes:
        rest: what came behind the request, of the next one.
    """

    completed: bool
    expect_continue: bool
    error: Error | None
    rest = b""

    def __init__(self, adjustments: Any, larder: Larder, answered: Callable[[], None]) -> None:
        super().__init__(adjustments)
        self._larder = larder
        self._answered = answered

    def received(self, data: bytes) -> int:
        """Read on. All is taken, for waitress would read any number of requests ahead of those that are answered."""
        used: int = super().received(data)
        if not self.completed:
            self._check_chunks()
        elif not self.error and self.body_rcv is not None and self.body_rcv.getbuf().crowded_out:
            self.error = _Crowded("")
        if self.expect_continue and self.content_length > self._larder.largest:
            self.error = self.error or RequestEntityTooLarge("")
            self.completed = True
        if self.error or (self.completed and self.body_rcv is None):
            self.expect_continue = False  # waitress would wait for a body for ever
        if self.completed and not self.empty:
            self.rest, used = data[used:], len(data)
        return used

    def parse_header(self, header_plus: bytes) -> None:
        """What Python cannot read, or two servers could read in two ways, is the client's fault, and gets an answer."""
        if _CONTROL.search(header_plus) or not _FIRST_LINE.fullmatch(header_plus.partition(b"\r\n")[0].rstrip()):
            raise ParsingError("the request's first line or one of its headers cannot be read")
        try:
            super().parse_header(header_plus)
        except ValueError:
            raise ParsingError("the request's first line or one of its headers cannot be read") from None
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("it has both Content-Length and Transfer-Encoding")
        if "TRANSFER_ENCODING" in self.headers:  # waitress reads it in HTTP/1.1 only
            raise ParsingError("Transfer-Encoding needs HTTP/1.1")
        if self.body_rcv is not None:
            self.body_rcv.buf = Body(self._larder)

    def close(self) -> None:
        """Forget the body."""
        super().close()
        self._answered()

    def _check_chunks(self) -> None:
        if not self.chunked:
            return
        came, body = self.body_bytes_received, len(self.body_rcv)
        if len(self.body_rcv.control_line) > _CHUNK_LINE or len(self.body_rcv.trailer) > _CHUNK_TRAILER:
            self.error = BadRequest("a chunk's line or the trailer is too long")
        elif came > _CHUNKS_LOOKED_AT and body * 4 < came:
            self.error = BadRequest("its chunks are too small")
        self.completed = self.error is not None


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    def execute(self) -> None:
        """Answer the request's error."""
        error = self.request.error
        body = error_body(_detail(error.code, str(error.body))).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Content-Type", "application/json"), *SAFE_HEADERS]
        if error.code == 503:
            self.response_headers.append(("Retry-After", str(RETRY_AFTER)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A client's connection. A request is read once the answer before it was sent, so that no thread waits for that.

    Attributes:
        since: when we began to wait for the client: for its request, or until it takes its answer. Monotonic seconds.
    """

    error_task_class = _ErrorTask

    def __init__(self, bounds: Bounds, larder: Larder, *args: Any, **keywords: Any) -> None:
        self._bounds = bounds
        self._larder = larder
        self._wait_anew()
        self._reading = self.parser_class(None)
        super().__init__(*args, **keywords)

    def parser_class(self, adjustments: Any) -> _Parser:
        """A new request, as waitress asks for it."""
        self._reading = _Parser(adjustments, self._larder, self._wait_anew)
        return self._reading

    @property
    def in_hand(self) -> bool:
        """Whether the client waits for us."""
        return bool(self.requests)

    @property
    def unread(self) -> int:
        """Bytes of answers kept in memory until the client takes them; a file on its way is not."""
        return sum(len(buffer) for buffer in list(self.outbufs) if isinstance(buffer, OverflowableBuffer))

    def is_late(self, now: float) -> bool:
        """Whether the client was waited for longer than it deserves.

        waitress closes who is silent for a while; one byte a minute would hold a connection for ever.
        """
        received = self.request.body_bytes_received if self.request else 0
        return (
            not self.in_hand and now - self.since > self._bounds.patience + (received + self._sent) / self._bounds.pace
        )

    def received(self, data: bytes) -> bool:
        """Read on. The first byte of a request, and no blank line before it, makes us wait anew."""
        idle = self.request is None
        if idle:
            data = data.lstrip()  # waitress makes a request of every blank line, thousands of them in one packet
        taken: bool = super().received(data)
        if idle and self.request is not None:
            self._wait_anew()
        return taken

    def readable(self) -> bool:
        """Whether to read more; first, what came with the last request."""
        if self._reading.rest and not self.in_hand and not self.total_outbufs_len:
            rest, self._reading.rest = self._reading.rest, b""
            try:
                self.received(rest)
            except Exception:  # noqa: BLE001 - of this client alone, as where its packets come in; told by the log
                self.handle_error()
                return False
        can_read: bool = super().readable()
        return can_read

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send what the client takes now."""
        sent: int = super().send(data, do_close)
        self._sent += sent
        return sent

    def handle_write(self) -> None:
        """Send on; once all is sent, the next request is waited for."""
        super().handle_write()
        if not self.total_outbufs_len:
            self._wait_anew()

    def handle_close(self) -> None:
        """Hang up, and forget what came in of a request."""
        super().handle_close()
        if self.request is not None:
            self.request.close()

    def _wait_anew(self) -> None:
        self.since = time.monotonic()
        self._sent = 0


def _detail(code: int, body: str) -> str:
    if code == 500:
        return incident("its traceback stands above")
    return _SENTENCES.get(code, f"this is no request that can be read: {body}")
