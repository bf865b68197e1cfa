"""The one shape of an error over HTTP, for all who refuse: routes, guard and the server itself."""

from __future__ import annotations

import logging
import secrets

from daemon import strict_json

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


def error_body(detail: str) -> str:
    """The JSON of an error: one sentence a person can act on."""
    return strict_json.dumps({"detail": detail})


def incident(what: object, *, traceback: bool = False) -> str:
    """Log a fault of ours under a short id; the sentence for the client holds the id and nothing else."""
    sentence = f"internal error {secrets.token_hex(4)}"
    log.error("%s: %s", sentence, what, exc_info=traceback, extra={"action": "internal_error"})
    return sentence
