"""The one shape of an error over HTTP, for all who refuse: routes, guard and the server itself."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping

from daemon import strict_json
from daemon.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    IndexttsdError,
    LedgerBroken,
    LedgerDamaged,
    MachineTrouble,
    NotFound,
    QueueFull,
    RequestRefused,
    TooLarge,
    Unauthorized,
)

#: Error -> HTTP status; the nearest class in the error's ancestry decides.
STATUS: Mapping[type[IndexttsdError], int] = {
    BadRequest: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    QueueFull: 429,
    RequestRefused: 400,
    MachineTrouble: 503,
    LedgerBroken: 503,
    LedgerDamaged: 503,
}
#: On every answer. None is a page, none is to be kept, and none is another site's to show or embed.
SAFE_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
#: What a client is told who comes when there is no room. Seconds.
RETRY_AFTER = 30

log = logging.getLogger("indexttsd.api")


def status_of(error: IndexttsdError) -> int:
    """The HTTP status of an error that a client caused or may see."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_body(detail: str) -> str:
    """The JSON of an error: one sentence a person can act on."""
    return strict_json.dumps({"detail": detail})


def incident(what: object, *, traceback: bool = False) -> str:
    """Log a fault of ours under a short id; the sentence for the client holds the id and nothing else."""
    sentence = f"internal error {secrets.token_hex(4)}"
    log.error("%s: %s", sentence, what, exc_info=traceback, extra={"action": "internal_error"})
    return sentence
