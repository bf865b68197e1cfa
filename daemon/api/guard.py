"""Who may ask, decided before any route: our own name, no foreign pages, safe headers on every answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

from daemon.api.answers import SAFE_HEADERS, error_body, status_of
from daemon.errors import BadRequest, Forbidden, RequestRefused, Unauthorized
from daemon.tokens import Tokens

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
#: What needs no token.
_OPEN = ("/health", "/api/tts/health")
_WRITES = ("POST", "PUT", "PATCH")
#: What a browser says of a page that is not ours; another port of the same machine is the same site to it.
_FOREIGN_SITES = ("cross-site", "same-site")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+?)\.?(:[0-9]*)?", re.ASCII)


class Guard:
    """WSGI middleware around the routes.

    A browser page of another site can send requests to a loopback server, directly or through a name of its own that
    resolves to loopback (DNS rebinding). The Host list stops the second, Origin and Sec-Fetch-Site the first.

    Args:
        hosts: names this server is called by, besides those of loopback.
        cors_origins: origins whose pages may call it.
        tokens: who may ask at all; None: everybody.
    """

    def __init__(
        self, app: Wsgi, hosts: Sequence[str], cors_origins: Sequence[str], tokens: Tokens | None = None
    ) -> None:
        self._app = app
        self._tokens = tokens
        self.allow(hosts, cors_origins)

    def allow(self, hosts: Sequence[str], cors_origins: Sequence[str]) -> None:
        """From now on these, as the constructor takes them."""
        self._hosts = {_bare(host) for host in (*_LOOPBACK_NAMES, *hosts)}
        self._origins = {origin.rstrip("/").lower() for origin in cors_origins}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Check, then pass on."""
        environ["PATH_INFO"] = environ.get("PATH_INFO", "/").rstrip("/") or "/"
        origin = environ.get("HTTP_ORIGIN", "").lower()
        extra = [*SAFE_HEADERS, *self._cors(environ.get("HTTP_ORIGIN", ""))]

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, *extra], *rest)

        try:
            self._check(environ, origin)
        except RequestRefused as error:
            return _refuse(start, environ, error)
        if environ["REQUEST_METHOD"] == "OPTIONS" and origin in self._origins:
            start("200 OK", [("Content-Type", "application/json")])
            return [b"{}"]
        try:
            self._check_token(environ)
        except Unauthorized as error:
            return _refuse(start, environ, error)
        return self._app(environ, start)

    def _check_token(self, environ: Environ) -> None:
        if self._tokens is None or not self._tokens.needed or environ["PATH_INFO"] in _OPEN:
            return
        if self._tokens.holder(environ.get("HTTP_AUTHORIZATION")) is None:
            raise Unauthorized("a token is needed: send the header Authorization: Bearer TOKEN (indexttsd token new)")

    def _check(self, environ: Environ, origin: str) -> None:
        host = environ.get("HTTP_HOST", "")
        if not host or "," in host:  # the server joins doubled headers with a comma
            raise BadRequest("send exactly one Host header")
        if (named := _authority(environ)) is not None and named != host.lower():
            raise BadRequest("the address and the Host header name two servers")
        if not _bare(host) or _bare(host) not in self._hosts:
            raise Forbidden(f"this server is not called {host!r}; server.hosts lists further names")
        if origin and origin not in self._origins and origin.partition("://")[2] != host.lower():
            raise Forbidden(f"pages of {origin!r} may not call this server; server.cors_origins lists those that may")
        if environ.get("HTTP_SEC_FETCH_SITE", "").lower() in _FOREIGN_SITES and origin not in self._origins:
            raise Forbidden("pages of other sites may not call this server")
        _check_type(environ)
        _check_path(environ["PATH_INFO"])

    def _cors(self, origin: str) -> list[tuple[str, str]]:
        if not self._origins:
            return []
        vary = ("Vary", "Origin")  # with an Origin or without, for a cache could give the one answer to the other
        if origin.lower() not in self._origins:
            return [vary]
        return [
            vary,
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Methods", "GET, POST, DELETE"),
            ("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Range"),
        ]


def _authority(environ: Environ) -> str | None:
    """The server's name in an address such as http://localhost/health; by RFC 9112 it goes before the Host header."""
    scheme, separator, rest = environ.get("REQUEST_URI", "").partition("://")
    return re.split("[/?#]", rest)[0].lower() if separator and scheme.isalpha() else None


def _check_type(environ: Environ) -> None:
    """A browser sends forms without asking first; JSON makes it ask (a CORS preflight)."""
    browser = "HTTP_ORIGIN" in environ or "HTTP_SEC_FETCH_SITE" in environ
    sent = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if browser and environ["REQUEST_METHOD"] in _WRITES and sent != "application/json":
        raise BadRequest("a browser must send Content-Type: application/json")


def _check_path(path: str) -> None:
    """Bottle would leave out what is not UTF-8, and so find a task by a name that is not its own."""
    try:
        path.encode("latin-1").decode()  # WSGI hands bytes over as Latin-1
    except UnicodeDecodeError:
        raise BadRequest("the address is not UTF-8") from None


def _bare(host: str) -> str:
    """A Host header's name without its port, in lower case; empty if it is no name."""
    name = host.strip().lower()
    if name.count(":") > 1 and not name.startswith("["):
        name = f"[{name}]"  # an IPv6 address as the configuration may have it
    found = _HOST.fullmatch(name)
    return found[1] if found else ""


def _refuse(start: StartResponse, environ: Environ, error: RequestRefused) -> list[bytes]:
    status = HTTPStatus(status_of(error))
    body = error_body(str(error)).encode()
    challenge = [("WWW-Authenticate", "Bearer")] if isinstance(error, Unauthorized) else []
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *challenge]
    start(f"{status} {status.phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
