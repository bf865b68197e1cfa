"""What a web page in somebody's browser may do to a server on the same machine: nothing, unless it is configured."""

from __future__ import annotations

import json

import pytest

from tests.api_door import Door, http

TASKS = "/api/tts/tasks"
TASK = json.dumps({"text": "Hello.", "output_path": "x"}).encode()
FRIEND = "https://studio.example"
SAFE = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture(scope="module")
def friendly(make_door):
    return make_door(server={"cors_origins": [FRIEND]})


def asked(door: Door, first: str, *headers: str, host: str | None = "localhost:{port}", body: bytes = b""):
    """Status, headers and body that come back; `{port}` is the door's."""
    length = [f"Content-Length: {len(body)}"] if body else []
    port = str(door.port)
    lines = [line.replace("{port}", port) for line in (first, *headers)]
    sent = http(*lines, *length, host=host and host.replace("{port}", port), body=body)
    head, _, content = door.raw(sent).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return int(status.split()[1]), {name.lower(): value for name, value in pairs}, content


HOSTS = {
    "ours": ("localhost", 200),
    "with the port": ("localhost:{port}", 200),
    "a trailing dot": ("localhost.:{port}", 200),
    "IPv6": ("[::1]:{port}", 200),
    "another name for us": ("rebound.example:{port}", 403),
    "ours in front": ("localhost.rebound.example", 403),
    "ours behind": ("rebound.example.localhost", 403),
    "two dots": ("localhost..", 403),
    "userinfo": ("localhost@rebound.example", 403),
    "userinfo before ours": ("rebound.example@localhost", 403),
    "userinfo with a password": ("a:b@localhost", 403),
    "a wrong port": ("localhost:http", 403),
    "IPv6 of others": ("[2001:db8::1]", 403),
    "IPv4 in IPv6": ("[::ffff:127.0.0.1]", 403),
    "a short address": ("127.1", 403),
    "a number": ("2130706433", 403),
    "all addresses": ("0.0.0.0", 403),
    "empty": ("", 400),
    "missing": (None, 400),
    "two in one": ("localhost, rebound.example", 400),
}


@pytest.mark.parametrize(("host", "expected"), HOSTS.values(), ids=HOSTS)
def test_a_name_that_is_not_ours_is_refused(door, host, expected):
    status, headers, _ = asked(door, "GET /health", host=host)
    assert status == expected
    assert SAFE.items() <= headers.items()


@pytest.mark.parametrize(
    ("first", "headers", "host", "expected"),
    [
        ("GET /health", ["Host: localhost"], "localhost", 400),
        ("GET /health", ["Host: rebound.example"], "localhost", 400),
        ("GET http://localhost/health", [], "localhost", 200),
        ("GET HTTP://LocalHost:{port}/health", [], "localhost:{port}", 200),
        ("GET http://rebound.example/health", [], "localhost", 400),
        ("GET http://localhost/health", [], "rebound.example", 400),
        ("GET http://a@localhost/health", [], "localhost", 400),
        ("GET http://localhost:1/health", [], "localhost", 400),
        ("GET http:///health", [], "localhost", 400),
        ("GET //rebound.example/health", [], "localhost", 404),
    ],
)
def test_one_request_names_one_server(door, first, headers, host, expected):
    assert asked(door, first, *headers, host=host)[0] == expected


ORIGINS = {
    "foreign": "https://evil.example",
    "null": "null",
    "another port": "http://localhost:1",
    "no port": "http://localhost",
    "our other name": "http://127.0.0.1:{port}",
    "ours in front": "http://localhost:{port}.evil.example",
    "userinfo": "http://localhost:{port}@evil.example",
    "two": "http://localhost:{port} https://evil.example",
    "a file": "file://",
    "a star": "*",
}
CARRIERS = {
    "a read": ("GET /api/tts/tasks", None),
    "a form": (f"POST {TASKS}", "application/x-www-form-urlencoded"),
    "a form with files": (f"POST {TASKS}", "multipart/form-data; boundary=x"),
    "plain text": (f"POST {TASKS}", "text/plain"),
    "no type": (f"POST {TASKS}", None),
    "JSON": (f"POST {TASKS}", "application/json"),
    "a removal": (f"DELETE {TASKS}/task_1_0", None),
    "a retry": (f"POST {TASKS}/task_1_0/retry", None),
    "a preflight": (f"OPTIONS {TASKS}", None),
}


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
@pytest.mark.parametrize(("first", "kind"), CARRIERS.values(), ids=CARRIERS)
def test_a_foreign_page_can_do_nothing(door, friendly, first, kind, origin):
    for server in (door, friendly):
        before = server.store.accepted()
        headers = [f"Origin: {origin}", *([f"Content-Type: {kind}"] if kind else [])]
        status, back, body = asked(server, first, *headers, body=TASK if "POST" in first else b"")
        assert status == 403
        assert list(json.loads(body)) == ["detail"]
        assert not [name for name in back if name.startswith("access-control")]
        assert SAFE.items() <= back.items()
        assert server.store.accepted() == before


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE"])
@pytest.mark.parametrize(("first", "kind"), CARRIERS.values(), ids=CARRIERS)
def test_a_fetch_from_another_site_or_port_is_refused(door, first, kind, site):
    """A picture, a script or a form of another page comes without Origin."""
    headers = [f"Sec-Fetch-Site: {site}", *([f"Content-Type: {kind}"] if kind else [])]
    assert asked(door, first, *headers, body=TASK if "POST" in first else b"")[0] == 403


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "", None])
@pytest.mark.parametrize("sign", ["Origin: http://localhost:{port}", "Sec-Fetch-Site: same-origin"])
def test_a_form_of_our_own_name_is_refused(door, kind, sign):
    """Whatever page stands under our name, a form of it is not JSON."""
    before = door.store.accepted()
    headers = [sign, *([f"Content-Type: {kind}"] if kind is not None else [])]
    assert asked(door, f"POST {TASKS}", *headers, body=TASK)[0] == 400
    assert door.store.accepted() == before


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", None])
def test_a_program_may_send_any_type(door, kind):
    """curl says urlencoded unless told otherwise; only browsers send pages' words."""
    assert asked(door, f"POST {TASKS}", *([f"Content-Type: {kind}"] if kind else []), body=TASK)[0] == 200


def test_a_configured_page_may_call_and_no_other_is_told_so(friendly):
    headers = [f"Origin: {FRIEND}", "Sec-Fetch-Site: cross-site", "Content-Type: application/json"]
    status, back, _ = asked(friendly, f"POST {TASKS}", *headers, body=TASK)
    assert (status, back["access-control-allow-origin"], back["vary"]) == (200, FRIEND, "Origin")
    assert "access-control-allow-credentials" not in back
    assert asked(friendly, "OPTIONS /api/tts/tasks", f"Origin: {FRIEND}")[1]["access-control-allow-origin"] == FRIEND
    # A cache must not give this one to the page.
    assert asked(friendly, "GET /health")[1]["vary"] == "Origin"


def test_without_configured_pages_nothing_depends_on_the_origin(door):
    assert "vary" not in asked(door, "GET /health")[1]


@pytest.mark.parametrize(
    ("first", "headers"),
    [
        ("GET /health", []),
        ("HEAD /health", []),
        ("GET /nothing", []),
        ("PUT /health", []),
        (f"POST {TASKS}", ["Content-Length: x"]),
        (f"POST {TASKS}", [f"Content-Length: {2**40}"]),
        ("GET /" + "x" * 17_000, []),
        ("nonsense", []),
    ],
)
def test_every_answer_has_safe_headers_and_says_nothing_of_the_server(door, first, headers):
    _, back, body = asked(door, first, *headers)
    assert SAFE.items() <= back.items()
    assert back["content-type"] == "application/json"
    assert not {"server", "via", "x-powered-by"} & back.keys()
    assert b"waitress" not in body.lower()
    assert b"bottle" not in body.lower()
