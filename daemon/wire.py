"""Frames on the socket between the daemon and its engine: a JSON object and a blob of bytes."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

_HEAD = struct.Struct("!4sII")
_MAGIC = b"itts"
#: Longest JSON of one frame, bytes: anything above is garbage on the line.
_LONGEST_TEXT = 256 << 20


class WireBroken(Exception):
    """The other side is gone or does not speak the protocol."""


class Garbage(WireBroken):
    """What came is no frame; nothing that follows can be understood."""


def send(line: socket.socket, message: dict[str, Any], blob: bytes = b"") -> None:
    """Send one frame.

    Raises:
        OSError: the other side is gone.
    """
    text = json.dumps(message).encode()
    line.sendall(_HEAD.pack(_MAGIC, len(text), len(blob)) + text)
    if blob:  # writing nothing fails too when the other side, having answered, is gone
        line.sendall(blob)


def receive(
    line: socket.socket, timeout: float | None = None, *, longest_blob: int = 0
) -> tuple[dict[str, Any], bytes]:
    """Wait for one frame, at most `timeout` seconds for all of it.

    Args:
        longest_blob: bytes; a frame with a longer one is garbage.

    Raises:
        TimeoutError: it did not come in time.
        WireBroken: the line was closed.
        Garbage: something else than a frame came.
    """
    usual = line.gettimeout()
    try:
        text, blob = _frame(line, None if timeout is None else time.monotonic() + timeout, longest_blob)
    finally:
        line.settimeout(usual)
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Garbage("garbage on the line") from None
    if not isinstance(message, dict):
        raise Garbage("garbage on the line")
    return message, blob


def _frame(line: socket.socket, deadline: float | None, longest_blob: int) -> tuple[bytes, bytes]:
    magic, text_bytes, blob_bytes = _HEAD.unpack(_exactly(line, _HEAD.size, deadline))
    if magic != _MAGIC or text_bytes > _LONGEST_TEXT or blob_bytes > longest_blob:
        raise Garbage("garbage on the line")
    return _exactly(line, text_bytes, deadline), _exactly(line, blob_bytes, deadline)


def _exactly(line: socket.socket, count: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        if deadline is not None:
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError("the frame did not come in time")
            line.settimeout(left)
        try:
            part = line.recv(min(count - len(parts), 1 << 20))
        except ConnectionError as error:
            raise WireBroken(str(error)) from None
        if not part:
            raise WireBroken("the line was closed")
        parts += part
    return bytes(parts)
