"""A finished file over HTTP: whole, or the part that a Range asks for (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import email.utils
import os
import re
from pathlib import Path

import bottle

# One range of bytes. Whatever else stands in the header is ignored, as the RFC allows for many and asks for nonsense.
_RANGE = re.compile(r"bytes=([0-9]+-[0-9]*|-[0-9]+)", re.ASCII)


def send(file: Path, media_type: str) -> bottle.HTTPResponse:
    """The answer that carries `file`.

    Raises:
        FileNotFoundError: it is gone.
    """
    found = file.stat()
    tag = f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'
    if not _wants_part(found, tag):
        bottle.request.environ.pop("HTTP_RANGE", None)
    elif not [*bottle.parse_range_header(bottle.request.environ["HTTP_RANGE"], found.st_size)]:
        return bottle.HTTPError(416, **{"Content-Range": f"bytes */{found.st_size}"})
    return bottle.static_file(file.name, root=str(file.parent), mimetype=media_type, etag=tag)


def _wants_part(found: os.stat_result, tag: str) -> bool:
    """Whether there is a Range, and the client's earlier part (If-Range) is of this very file."""
    environ = bottle.request.environ
    same = (tag, email.utils.formatdate(found.st_mtime, usegmt=True))
    return bool(_RANGE.fullmatch(environ.get("HTTP_RANGE", ""))) and environ.get("HTTP_IF_RANGE", tag) in same
