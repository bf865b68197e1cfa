"""The socket and the server: where it listens, what it refuses by itself, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading

import pytest

from daemon.api import listen
from daemon.config import ServerConfig
from daemon.errors import ConfigError
from tests.api_door import Running, exchange
from tests.api_door import http as request
from tests.live import PATIENCE


def hello(_environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


def hung_up(line):
    """Whether the server has, with a reset if it had not read everything."""
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def broken(_environ, _start_response):
    raise RuntimeError("a secret of ours")


@pytest.fixture(scope="module")
def running():
    with Running(hello) as server:
        yield server


# Listening


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_it_listens_on_loopback(host):
    listen(ServerConfig(host=host, port=0), guarded=False).close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_that_others_reach_is_refused(host):
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1"):
        listen(ServerConfig(host=host, port=0), guarded=False)


@pytest.mark.parametrize("host", ["nowhere.invalid", "", "300.0.0.1"])
def test_a_name_that_is_no_address_is_refused(host):
    with pytest.raises(ConfigError, match="no address of this machine"):
        listen(ServerConfig(host=host, port=0), guarded=False)


def test_a_taken_port_is_refused():
    with (
        contextlib.closing(listen(ServerConfig(port=0), guarded=False)) as taken,
        pytest.raises(ConfigError, match="cannot listen"),
    ):
        listen(ServerConfig(port=taken.getsockname()[1]), guarded=False)


# What waitress refuses before any route


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\n\r\n", 400),
        (request("GET http://[/health"), 400),
        (request("GET /", "Nonsense"), 400),
        (request("POST /", "Content-Length: x"), 400),
        (request("POST /", "Content-Length: -1"), 400),
        (request("POST /", "Content-Length: " + "9" * 5000), 400),
        (request("POST /", "Transfer-Encoding: chunked", body=b"zz\r\n"), 400),
        (request("POST /", "Transfer-Encoding: gzip"), 501),
        (request("POST /", f"Content-Length: {64 * 1024**2 + 1}"), 413),
        (request("GET /" + "x" * 16_384), 431),
        (request("GET /", "X: " + "x" * 16_384), 431),
    ],
)
def test_its_own_refusals_look_like_all_others(running, sent, status):
    head, _, body = exchange(running.port, sent).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"\r\nContent-Type: application/json" in head
    assert b"\r\nX-Content-Type-Options: nosniff" in head
    assert list(json.loads(body)) == ["detail"]


def test_an_address_just_short_enough_is_passed_on(running):
    assert exchange(running.port, request("GET /" + "x" * 16_000)).endswith(b"hello")


def test_a_bug_below_every_route_tells_nobody_its_secrets(caplog):
    with Running(broken) as server:
        answer = exchange(server.port, request("GET /"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    name = json.loads(answer.partition(b"\r\n\r\n")[2])["detail"].removeprefix("internal error ")
    assert len(name) == 8
    assert f"internal error {name}" in caplog.text
    assert "a secret of ours" in caplog.text


def test_requests_on_one_connection_are_answered_in_order(running):
    both = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + request("GET /")
    assert exchange(running.port, both).count(b"\r\n\r\nhello") == 2


# The end


def test_it_ends_although_clients_stay_connected():
    with Running(hello) as server, server.connected() as silent, server.connected() as half:
        idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        idle.request("GET", "/")
        assert idle.getresponse().read() == b"hello"
        half.sendall(b"GET / HT")
        server.stop()
        assert hung_up(silent)
        assert hung_up(half)
        idle.close()


def test_a_request_in_hand_is_answered_before_the_end():
    asked, go_on = threading.Event(), threading.Event()

    def slow(_environ, start_response):
        asked.set()
        assert go_on.wait(PATIENCE)
        start_response("200 OK", [("Content-Length", "300000")])
        return [b"x" * 300_000]

    with Running(slow) as server, server.connected() as line:
        line.sendall(request("GET /"))
        assert asked.wait(PATIENCE)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        go_on.set()
        answer = b""
        while part := line.recv(65536):
            answer += part
        stopping.join(PATIENCE)
    assert answer.endswith(b"x" * 300_000)


def test_a_closed_port_is_free_again():
    with Running(hello) as server:
        exchange(server.port, request("GET /"))
        server.stop()
        listen(ServerConfig(port=server.port), guarded=False).close()


def test_the_loop_does_not_leave_before_a_close_has_woken_it():
    """Another thread's pull may wake the loop between close's decision and its own write to the trigger."""
    with Running(hello) as running:
        server = running.server
        trigger = server._server.trigger
        pulled = trigger._physical_pull
        slow = threading.Event()

        def late_pull():
            slow.wait(0.5)  # the loop sees the decision, by another's pull, before this one is written
            pulled()

        trigger._physical_pull = late_pull
        threading.Thread(target=pulled).start()
        server.close()  # raised EBADF, or wrote into another file
        running.thread.join(PATIENCE)
        assert not running.thread.is_alive()
