"""A finished file over HTTP: whole, or the part that a Range asks for (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import contextlib
import email.utils
import io
import os
import re
from collections.abc import Mapping
from typing import Any

import bottle

# One range of bytes. Whatever else stands in the header is ignored, as the RFC allows for many and asks for nonsense.
_RANGE = re.compile(r"bytes=([0-9]+-[0-9]*|-[0-9]+)", re.ASCII)


class _Sending(io.BufferedReader):
    """A file on its way out.

    The server's loop would go round and round for one that got shorter after its length was promised; it hangs up when
    reading fails.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size and not data:
            raise OSError("the file was cut short while it was sent")
        return data


def send(file: io.BufferedReader, media_type: str) -> bottle.HTTPResponse:
    """The answer that carries `file`, which is no longer the caller's: whoever sends it closes it.

    The server's loop reads it as the client takes it, a part as well as the whole, and no thread waits for that. (The
    loop itself does: a disk that stalls would stall every client.)
    """
    body = _Sending(file.detach())
    with contextlib.ExitStack() as undo:
        undo.callback(body.close)
        found = os.fstat(body.fileno())
        headers = {"ETag": _tag(found), "Last-Modified": _changed(found), "Accept-Ranges": "bytes"}
        if _is_known(bottle.request.environ, found):
            return bottle.HTTPResponse(status=304, **headers)
        part = _part(bottle.request.environ, found)
        if part is not None and not part:
            return bottle.HTTPError(416, **{"Content-Range": f"bytes */{found.st_size}"})
        sent = range(found.st_size) if part is None else part
        headers |= {"Content-Type": media_type, "Content-Length": str(len(sent))}
        if part:
            headers["Content-Range"] = f"bytes {part[0]}-{part[-1]}/{found.st_size}"
        if not sent:
            return bottle.HTTPResponse(**headers)
        body.seek(sent[0])
        undo.pop_all()
        return bottle.HTTPResponse(body, 206 if part else 200, **headers)


def _tag(found: os.stat_result) -> str:
    return f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'


def _changed(found: os.stat_result) -> str:
    return email.utils.formatdate(found.st_mtime, usegmt=True)


def _is_known(environ: Mapping[str, Any], found: os.stat_result) -> bool:
    """Whether the client has this very content already."""
    if tags := environ.get("HTTP_IF_NONE_MATCH"):  # a date beside it does not count
        known = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return "*" in known or _tag(found) in known
    since = bottle.parse_date(environ.get("HTTP_IF_MODIFIED_SINCE", "").partition(";")[0].strip())
    return since is not None and since >= int(found.st_mtime)


def _part(environ: Mapping[str, Any], found: os.stat_result) -> range | None:
    """The bytes that are asked for, empty if the file has none of them; None: all of it."""
    wanted = environ.get("HTTP_RANGE", "")
    same = (_tag(found), _changed(found))  # the client's earlier part must be of this very file
    if not _RANGE.fullmatch(wanted) or environ.get("HTTP_IF_RANGE", same[0]) not in same:
        return None
    return next((range(*ends) for ends in bottle.parse_range_header(wanted, found.st_size)), range(0))
