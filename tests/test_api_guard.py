"""Who may ask: our own names, no pages of other sites, and only what is configured besides."""

from __future__ import annotations

import pytest

from tests.api_door import Door, http
from tests.live import Answer

TASKS = "/api/tts/tasks"
FRIEND = "https://studio.example"
TASK = {"text": "Hello.", "output_path": "x"}


@pytest.fixture(scope="module")
def open_door(make_door):
    return make_door(server={"hosts": ["TTS.example", "fd00::1"], "cors_origins": [f"{FRIEND}/"]})


def status(door: Door, *headers: str, host: str | None = "127.0.0.1") -> int:
    answer = door.raw(http("GET /health", *headers, host=host))
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
    assert b"\r\nContent-Type: application/json\r\n" in answer
    return int(answer.split()[1])


def cors(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control")}


# Host


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LocalHost",
        "localhost.",
        "[::1]",
        "127.0.0.1:80",
        "localhost:51046",
        "[::1]:9",
        " localhost ",
    ],
)
def test_loopbacks_own_names_are_known(door, host):
    assert status(door, host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "evil-localhost", "127.0.0.2", "tts.example", "user@localhost"),
        *(
            "localhost:80@evil.example",
            "localhost:80:80",
            "[::1]evil.example",
            "[::2]",
            "::",
            "[",
            "localhost/",
            "0.0.0.0",
        ),
    ],
)
def test_a_foreign_name_is_refused(door, host):
    assert status(door, host=host) == 403


@pytest.mark.parametrize("headers", [[], ["Host:"], ["Host: localhost", "Host: localhost"], ["Host: localhost, evil"]])
def test_a_missing_or_doubled_host_is_a_wrong_request(door, headers):
    assert status(door, *headers, host=None) == 400


@pytest.mark.parametrize("host", ["tts.example", "tts.EXAMPLE:443", "[fd00::1]", "[fd00::1]:51046", "localhost"])
def test_configured_names_are_known_besides(open_door, host):
    assert status(open_door, host=host) == 200


# Pages


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "https://evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1:1",
            "http://localhost:{port}",
            "null",
            "nonsense",
        ),
        *(
            "http://[",
            "http://127.0.0.1:{port}.evil.example",
            "http://127.0.0.1:{port}/x",
            "http://127.0.0.1:{port}, http://x",
        ),
        FRIEND,
    ],
)
def test_a_foreign_page_is_refused(door, origin):
    before = door.store.accepted()
    headers = {"Origin": origin.format(port=door.port), "Content-Type": "application/json"}
    for answer in (door.post(TASKS, TASK, **headers), door.get("/health", **headers)):
        assert answer.status == 403
        assert answer.detail
        assert not cors(answer)
    assert door.store.accepted() == before


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", "HTTP://127.0.0.1:{port}", "https://127.0.0.1:{port}"])
def test_our_own_page_may_call(door, origin):
    headers = {"Origin": origin.format(port=door.port), "Content-Type": "application/json"}
    answer = door.post(TASKS, TASK, **headers)
    assert answer.status == 200
    assert not cors(answer)


@pytest.mark.parametrize(
    ("site", "expected"), [("cross-site", 403), ("Cross-Site", 403), ("same-origin", 200), ("none", 200)]
)
def test_a_cross_site_fetch_is_refused(door, site, expected):
    assert status(door, f"Sec-Fetch-Site: {site}") == expected


@pytest.mark.parametrize("browser", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://127.0.0.1:{port}"}])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (None, 400),
        ("", 400),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        ("multipart/form-data; boundary=x", 400),
        ("text/plain; application/json", 400),
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
    ],
)
def test_a_browser_must_send_json(door, browser, kind, expected):
    headers = {name: value.format(port=door.port) for name, value in browser.items()}
    answer = door.post(TASKS, TASK, **headers, **({} if kind is None else {"Content-Type": kind}))
    assert answer.status == expected
    assert expected == 200 or "application/json" in answer.detail


def test_a_browser_asks_without_a_content_type(door):
    assert status(door, f"Origin: http://127.0.0.1:{door.port}", host=f"127.0.0.1:{door.port}") == 200


# CORS


def test_a_configured_page_may_call_and_read(open_door):
    headers = {"Origin": FRIEND, "Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"}
    for answer in (
        open_door.post(TASKS, TASK, **headers),
        open_door.get("/nope", **headers),
        open_door.post(TASKS, {}, **headers),
    ):
        assert answer.status in (200, 400, 404)
        assert answer.headers["access-control-allow-origin"] == FRIEND
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers


def test_a_browser_that_asks_first_learns_what_is_allowed(open_door):
    answer = open_door.ask("OPTIONS", TASKS, headers={"Origin": FRIEND, "Access-Control-Request-Method": "POST"})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == FRIEND
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert {"Content-Type", "Idempotency-Key"} <= set(answer.headers["access-control-allow-headers"].split(", "))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://studio.example", f"{FRIEND}.evil.example", f"{FRIEND}:444"]
)
def test_a_page_that_is_not_configured_stays_outside(open_door, origin):
    for method in ("OPTIONS", "GET"):
        answer = open_door.ask(method, TASKS, headers={"Origin": origin})
        assert answer.status == 403
        assert not cors(answer)


def test_without_a_page_there_is_no_cors_header(open_door):
    assert not cors(open_door.get("/health"))


def test_no_page_is_friendly_unless_configured(door):
    answer = door.ask("OPTIONS", TASKS, headers={"Origin": FRIEND, "Access-Control-Request-Method": "POST"})
    assert answer.status == 403
    assert not cors(answer)
