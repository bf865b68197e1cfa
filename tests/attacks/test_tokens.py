"""Requests without a token, with a wrong one, and with a good one in the wrong place."""

from __future__ import annotations

import json

import pytest

from daemon import tokens
from tests.api_door import exchange, http
from tests.live import LiveDaemon

FRIEND = "https://studio.example"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A daemon that wants a token; `secret` is a good one, `revoked` was one."""
    live = LiveDaemon(tmp_path_factory.mktemp("guarded"), server={"cors_origins": [FRIEND]})
    _, live.secret = tokens.create(live.folder / "tokens", "good")
    _, live.revoked = tokens.create(live.folder / "tokens", "bad")
    tokens.revoke(live.folder / "tokens", "bad")
    _, live.foreign = tokens.create(live.folder / "prompts" / "tokens")
    yield live.start(ready=False)
    live.close()


def answer(live, first: str, *headers: str, host: str = "127.0.0.1", body: bytes = b"") -> tuple[int, str, bytes]:
    """Status, head in lower case, and body of one raw request; `{}` stands for the good token."""
    sent = [header.replace("{}", live.secret) for header in headers]
    head, _, rest = exchange(live.port, http(first.replace("{}", live.secret), *sent, host=host, body=body)).partition(
        b"\r\n\r\n"
    )
    return int(head.split()[1]), head.decode("latin-1").lower(), rest


def is_refused(live, first: str, *headers: str, **more) -> bool:
    """401 in full: the challenge, and a sentence that tells what to do and nothing else."""
    status, head, body = answer(live, first, *headers, **more)
    if status != 401:
        return False
    assert "\r\nwww-authenticate: bearer" in head
    assert "\r\ncontent-type: application/json\r\n" in head
    assert "\r\nx-content-type-options: nosniff" in head
    if not first.startswith("HEAD"):
        assert json.loads(body)["detail"].startswith("a token is needed: send the header Authorization: Bearer TOKEN")
    return True


TASKS = "GET /api/tts/tasks"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_good_token_gets_in_whatever_the_schemes_case(guarded, scheme):
    assert answer(guarded, TASKS, f"Authorization: {scheme} {{}}")[0] == 200
    assert answer(guarded, TASKS, f"aUTHORIZATION: {scheme}   {{}}  ")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Authorization:"],
        ["Authorization: Bearer"],
        ["Authorization: {}"],
        ["Authorization: Basic {}"],
        ["Authorization: Basic dXNlcjp7fQ=="],
        ["Authorization: Token {}"],
        ["Authorization: Bearer{}"],
        ["Authorization: Bearer\t{}"],
        ["Authorization: Bearer: {}"],
        ["Authorization: Bearer {}x"],
        ["Authorization: Bearer x{}"],
        ["Authorization: Bearer {} {}"],
        ["Authorization: Bearer {},"],
        ['Authorization: Bearer "{}"'],
        ["Authorization: Bearer {}\\n"],
        ["Authorization: Bearer %7B{}"],
        ["Authorization: Bearer \xe9\xff"],
        ["Authorization: Bearer {}\xa0"],
        ["Authorization: Bearer " + "x" * 10_000],
        ["Authorization: Bearer *"],
        ["Authorization: Bearer none", "Authorization: Bearer {}"],
        ["Authorization: Bearer {}", "Authorization: Bearer {}"],
        ["Authorization: Bearer {}", "Authorization: Basic x"],
        ["Cookie: token={}; Authorization=Bearer {}"],
        ["X-Authorization: Bearer {}"],
        ["Proxy-Authorization: Bearer {}"],
        ["X-Forwarded-For: 127.0.0.1", "X-Original-URL: /health"],
    ],
    ids=lambda headers: " | ".join(headers)[:60] or "none",
)
def test_anything_else_is_refused(guarded, headers):
    assert is_refused(guarded, TASKS, *headers)


@pytest.mark.parametrize("name", ["Authorization_", "Authorization"])
def test_a_header_with_an_underscore_does_not_pass_for_the_real_one(guarded, name):
    header = f"{name}: Bearer {{}}".replace("Authorization_", "HTTP_Authorization")
    assert is_refused(guarded, TASKS, header) == (name != "Authorization")


def test_a_revoked_token_one_of_another_file_and_a_hash_are_refused(guarded):
    digests = [token.digest for token in tokens.read_file(guarded.folder / "tokens")]
    for sent in (guarded.revoked, guarded.foreign, *digests):
        assert is_refused(guarded, TASKS, f"Authorization: Bearer {sent}")


@pytest.mark.parametrize("query", ["token={}", "access_token={}", "authorization=Bearer%20{}", "api_key={}"])
def test_a_token_in_the_address_is_refused(guarded, query):
    assert is_refused(guarded, f"{TASKS}?{query}")


def test_a_broken_header_is_never_let_in(guarded):
    """A line break ends the header: the rest is another header, or no HTTP."""
    assert answer(guarded, TASKS, "Authorization: Bearer \r\n {}")[0] in (200, 400, 401)  # obs-fold: one header still
    assert answer(guarded, TASKS, "Authorization: Bearer x\r\n{}")[0] in (400, 401)
    assert answer(guarded, TASKS, "Authorization : Bearer {}")[0] in (400, 401)
    assert answer(guarded, TASKS, "Authorization: Bearer {}\0")[0] in (400, 401)


ALL_BUT_HEALTH = [
    *("/ready", "/api/tts/prompts", "/api/tts/tasks", "/api/tts/tasks/task_1_0", "/api/tts/tasks/task_1_0/audio"),
    *("/api/tts/stats", "/openapi.json", "/", "/none", "/api", "/health/x", "/healthz", "/HEALTH", "//api/tts/tasks"),
    *("/health/../api/tts/tasks", "/api/tts/health/../tasks", "/health%2f..%2fapi/tts/tasks", "/health;/", "/x/health"),
]


@pytest.mark.parametrize("path", ALL_BUT_HEALTH)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_all_but_health_wants_one_and_strangers_learn_no_routes(guarded, method, path):
    assert is_refused(guarded, f"{method} {path}")


@pytest.mark.parametrize("path", ["/health", "/api/tts/health", "/health/", "//health", "/health?x=1"])
def test_health_stays_open(guarded, path):
    assert answer(guarded, f"GET {path}")[::2] == (200, b'{"status": "ok"}')
    assert answer(guarded, f"HEAD {path}")[0] == 200
    assert answer(guarded, f"POST {path}")[0] == 405


def test_nothing_is_done_for_who_has_none(guarded):
    body = json.dumps({"text": "Hello.", "output_path": "x"}).encode()
    sent = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    assert is_refused(guarded, "POST /api/tts/tasks", *sent, body=body)
    listed = answer(guarded, TASKS, "Authorization: Bearer {}")[2]
    assert json.loads(listed)["tasks"] == []


# What comes first


def test_a_foreign_host_or_page_is_refused_before_a_token_is_looked_at(guarded):
    for token in ("Authorization: Bearer {}", "Accept: */*"):
        assert answer(guarded, TASKS, token, host="evil.example")[0] == 403
        assert answer(guarded, TASKS, token, "Origin: https://evil.example")[0] == 403
        assert answer(guarded, TASKS, token, "Sec-Fetch-Site: cross-site")[0] == 403


def test_a_preflight_of_a_friend_needs_none_and_what_it_asks_about_does(guarded):
    asked = ("Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization")
    status, head, body = answer(guarded, "OPTIONS /api/tts/tasks", f"Origin: {FRIEND}", *asked)
    assert (status, body) == (200, b"{}")
    assert f"access-control-allow-origin: {FRIEND}" in head
    assert "authorization" in head
    assert is_refused(guarded, TASKS, f"Origin: {FRIEND}")
    assert answer(guarded, TASKS, f"Origin: {FRIEND}", "Authorization: Bearer {}")[0] == 200
    assert answer(guarded, "OPTIONS /api/tts/tasks", "Origin: https://evil.example", *asked)[0] == 403


def test_what_is_no_http_needs_none_to_be_refused(guarded):
    assert exchange(guarded.port, b"nonsense\r\n\r\n").split()[1] == b"400"


def test_no_token_ever_stands_in_the_log(guarded):
    assert answer(guarded, f"{TASKS}?token={{}}", "Authorization: Bearer {}")[0] == 200
    log = guarded.log.read_text()
    assert "listening on" in log
    assert guarded.secret not in log
