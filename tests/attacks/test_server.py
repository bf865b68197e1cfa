"""Clients that want to keep others out: many, slow, silent, never reading, or with one request that is hard to read."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
import threading

import pytest

from daemon.api import channel
from tests.api_door import Running, connected, exchange, http
from tests.attacks.crowd import Crowd, is_gone, seconds
from tests.live import PATIENCE, until

TASKS = "/api/tts/tasks"
TASK = {"text": "Hello.", "output_path": "x"}
MIB = 1024**2


@pytest.fixture(scope="module", autouse=True)
def enough_descriptors():
    """This process is all of the clients, and in some tests the server too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 8192:
        pytest.skip(f"a process may open {hard} files here; 8,192 are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def large_sound(door):
    """The address of a sound larger than what the kernel keeps for clients who do not read."""
    task = door.submit()
    claimed = door.claim()
    door.complete(claimed)
    (door.outputs / "out" / f"{task}.wav").write_bytes(bytes(40 * MIB))
    return f"{TASKS}/{task}/audio"


def hello(_environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


def large(_environ, start_response):
    start_response("200 OK", [("Content-Length", str(32 * MIB))])
    return [bytes(32 * MIB)]


def good(running: Running) -> bytes:
    return exchange(running.port, http("GET /"))


# Many and slow


def test_a_good_client_is_answered_among_1500_connections_and_60_slow_clients(daemon, tell):
    with Crowd(daemon.port) as crowd, Crowd(daemon.port) as slow:
        crowd.join(500)
        crowd.join(500, b"GET /health HT")
        crowd.join(500, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        slow.join(20, b"GET /health HTTP/1.1\r\nX: ")
        slow.join(20, http(f"POST {TASKS}", "Content-Length: 100000"))
        slow.join(20, http("GET /health").replace(b"close", b"keep-alive") * 400, receive=4096)
        slow.drip(1.0)
        took = seconds(lambda: daemon.ended(daemon.submit()))
        assert daemon.get("/health").json == {"status": "ok"}
        assert not any(is_gone(line) for line in crowd.lines)
    tell(f"1,500 connections and 60 slow clients: a good client had its task spoken in {took:.1f} s")


@pytest.mark.parametrize("asked", ["", "Range: bytes=1-", "Range: bytes=-41943039"])
def test_who_does_not_read_a_sound_holds_no_thread(door, large_sound, asked):
    with Crowd(door.port) as crowd:
        crowd.join(20, http(f"GET {large_sound}", *([asked] if asked else [])), receive=4096)
        assert door.get("/health").status == 200
        # Even when his next request came along with this one.
        both = http(f"GET {large_sound}").replace(b"Connection: close\r\n", b"") + http("GET /health")
        crowd.join(20, both, receive=4096)
        assert door.get("/health").status == 200
        assert door.post(TASKS, TASK).status == 200
    assert len(door.get(large_sound).body) == 40 * MIB


def test_polls_are_answered_while_every_change_waits():
    go_on, waiting = threading.Event(), threading.Semaphore(0)

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] != "GET":
            waiting.release()
            assert go_on.wait(PATIENCE)
        return hello(environ, start_response)

    with Running(app) as running, Crowd(running.port) as crowd:
        crowd.join(30, http("POST /", "Content-Length: 0"))
        crowd.join(30, http("DELETE /"))
        assert waiting.acquire(timeout=PATIENCE)
        for _ in range(20):
            assert good(running).endswith(b"hello")
        go_on.set()
        for line in crowd.lines:
            until(lambda line=line: is_gone(line), "an answer for everybody")


def test_blank_lines_do_not_make_a_request_each(monkeypatch):
    """The loop that makes them serves everybody: two hundred clients who sent nothing else held it for seconds."""
    made = []
    first = channel._Parser.__init__
    monkeypatch.setattr(channel._Parser, "__init__", lambda *args: (made.append(1), first(*args))[1])
    with Running(hello) as running:
        answer = exchange(running.port, b"\r\n" * 200_000 + http("GET /"))
    assert answer.endswith(b"hello")
    assert len(made) < 10


def test_chunks_of_a_byte_each_are_refused():
    with Running(hello) as running:
        answer = exchange(running.port, http("POST /", "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 50_000)
    assert b" 400 " in answer
    assert b"its chunks are too small" in answer


def test_what_breaks_in_a_request_sent_ahead_breaks_that_client_alone(monkeypatch):
    with Running(hello) as running:
        parse = channel._Parser.parse_header

        def broken(parser, header):
            if b"/second" in header:
                raise MemoryError
            parse(parser, header)

        monkeypatch.setattr(channel._Parser, "parse_header", broken)
        both = http("GET /").replace(b"Connection: close\r\n", b"") + http("GET /second")
        assert b"hello" in exchange(running.port, both)
        assert good(running).endswith(b"hello")


def test_where_fewer_descriptors_are_allowed_there_are_fewer_connections():
    ask = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 1000)); "
    ask += "from daemon.api.server import _room_for; print(_room_for(2000), resource.getrlimit(resource.RLIMIT_NOFILE))"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "372 (1000, 1000)"


# How long who is waited for


@pytest.mark.parametrize(
    ("say", "drop"),
    [
        (b"", b""),
        (b"", b"\r\n\r\n"),
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nX: ", b"x"),
        (b"GET / HTTP/1.1\r\n", b"X: x\r\n"),
        (http("POST /", "Content-Length: 1000000"), b""),
        (http("POST /", "Content-Length: 1000000"), b"x"),
        (http("POST /", "Transfer-Encoding: chunked"), b"1\r\nx\r\n"),
        (http("POST /", "Transfer-Encoding: chunked"), b"x"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n\r\n"),
    ],
)
def test_who_says_little_is_hung_up_on_however_he_drips(say, drop):
    with Running(hello, patience=0.5, pace=1e6) as running, Crowd(running.port) as crowd:
        crowd.join(5, say)
        if drop:
            crowd.drip(0.05, drop)
        for line in crowd.lines:
            until(lambda line=line: is_gone(line), "the server's hanging up")


def test_who_never_reads_is_hung_up_on():
    with Running(large, patience=0.5, pace=1e9) as running, Crowd(running.port) as crowd:
        crowd.join(5, http("GET /"), receive=4096)
        clients = running.server._clients
        until(clients, "the first of them")
        until(lambda: not clients(), "the server's hanging up")  # waitress would wait until it can write to them


def test_who_sends_at_a_fair_pace_is_waited_for():
    with Running(hello, patience=0.5, pace=10) as running, running.connected() as fair, running.connected() as silent:
        fair.sendall(http("POST /", "Content-Length: 2000", body=b"x" * 1000))
        assert silent.recv(1) == b""  # a later one, who said nothing, has been hung up on
        fair.sendall(b"x" * 1000)
        assert fair.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_beyond_the_limit_the_longest_waited_for_makes_way():
    with Running(hello, connections=50) as running, Crowd(running.port) as crowd:
        crowd.join(150, b"GET / HT")
        assert good(running).endswith(b"hello")
        until(lambda: sum(map(is_gone, crowd.lines)) >= 100, "the oldest hung up on")
        assert all(is_gone(line) for line in crowd.lines[:90])
        # Those who came in one turn of the loop are in no order.
        assert sum(map(is_gone, crowd.lines[-40:])) < 10


def test_answers_that_nobody_reads_are_bounded_together():
    with Running(large, room=100 * MIB, patience=20, pace=1) as running, Crowd(running.port) as crowd:
        crowd.join(10, http("GET /"), receive=4096)
        clients = running.server._clients
        until(lambda: len(clients()) > 3, "more than there is room for")
        until(lambda: 0 < len(clients()) < 4 and not any(client.in_hand for client in clients()), "only three left")
        assert sum(client.unread for client in clients()) <= 100 * MIB


# Requests that are hard to read


@pytest.mark.parametrize(
    "line",
    [
        "GET a://" + "1" * 16_000 + " x\r\n",
        "GET / HTTP/1.1\r\nX:" + " " * 16_000 + "\0\r\n",
        "GET / HTTP/1.1\r\nX:" + " \t" * 8_000 + "\x7f\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\n" + "X: x\r\n x\r\n" * 1_400,
    ],
    ids=["address", "blanks", "tabs", "folds"],
)
def test_a_line_that_is_hard_to_match_holds_nobody_up(line):
    """The first took waitress's pattern 55 s of the one loop, each of the next two 4 s."""
    with Running(hello) as running:
        for _ in range(20):
            assert exchange(running.port, line.encode("latin-1") + b"\r\n").startswith(b"HTTP/1.")
        assert good(running).endswith(b"hello")


@pytest.mark.parametrize("begin", [b"", b"5;", b"0\r\nX: "], ids=["size", "extension", "trailer"])
def test_a_line_without_end_between_chunks_is_refused(begin):
    with Running(hello) as running:
        answer = exchange(running.port, http("POST /", "Transfer-Encoding: chunked", body=begin + b"a" * 17_000))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"too long" in answer


@pytest.mark.parametrize("count", [2, 450])
def test_requests_sent_ahead_are_answered_one_by_one(count):
    ahead = b"GET / HTTP/1.1\r\n\r\n" * (count - 1)  # as many as fit into one packet that waitress reads
    with Running(hello) as running:
        assert exchange(running.port, ahead + http("GET /")).count(b"\r\n\r\nhello") == count


ODD = {
    "nothing of HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/0.9 by name": b"GET /health HTTP/0.9\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.10": b"GET /health HTTP/1.10\r\nHost: localhost\r\n\r\n",
    "two blanks": b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tab": b"GET\t/health\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bare LF": b"GET /health HTTP/1.1\nHost: localhost\n\n\r\n\r\n",
    "bare CR": http("GET /health", "X: a\rb"),
    "LF in a header": http("GET /health", "X: a\nHost: evil"),
    "NUL in a header": http("GET /health", "X: a\0b"),
    "NUL in the address": http("GET /health\0"),
    "NUL in a name": http("GET /health", "X\0Y: b"),
    "blank before the colon": http("GET /health", "X : b"),
    "no name": http("GET /health", ": b"),
    "fold at once": b"GET /health HTTP/1.1\r\n x\r\nHost: localhost\r\n\r\n",
    "folded Host": http("GET /health", "Host: localhost\r\n evil.example", host=None),
    "two lengths": http("POST /", "Content-Length: 3", "Content-Length: 4", body=b"abcd"),
    "the same length twice": http("POST /", "Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "a signed length": http("POST /", "Content-Length: +3", body=b"abc"),
    "a length in other digits": http("POST /", "Content-Length: \xb2"),
    "an endless length": http("POST /", "Content-Length: " + "9" * 10_000),
    "length and chunks": http("POST /", "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunks in HTTP/1.0": http("POST /", "Transfer-Encoding: chunked", body=b"0\r\n\r\n").replace(b"/1.1", b"/1.0"),
    "chunked twice": http("POST /", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "a chunk of no size": http("POST /", "Transfer-Encoding: chunked", body=b"xyz\r\nabc\r\n"),
    "a chunk of negative size": http("POST /", "Transfer-Encoding: chunked", body=b"-3\r\nabc\r\n"),
    "a chunk with 0x": http("POST /", "Transfer-Encoding: chunked", body=b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk too short": http("POST /", "Transfer-Encoding: chunked", body=b"2\r\nabc\r\n0\r\n\r\n"),
    "a wrong extension": http("POST /", "Transfer-Encoding: chunked", body=b'3;a="\r\nabc\r\n0\r\n\r\n'),
    "expects and is wrong": http("POST /", "Content-Length: x", "Expect: 100-continue"),
    "a foreign absolute address": http("GET http://evil.example/health"),
    "an address without a name": http("GET http:///health"),
    "an authority": http("CONNECT evil.example:443"),
    "a star": http("OPTIONS *"),
    "a method in lower case": http("get /health"),
    "a method of signs": http("!#$% /health"),
    "a long method": http("G" * 9_000 + " /health"),
    "brackets": http("GET http://[::1/health"),
    "16 KiB of slashes": http("GET " + "/" * 16_000),
    "16 KiB of percents": http("GET /" + "%" * 16_000),
    "2,000 headers": http("GET /health", *["A:"] * 2_000, host=None),
    "10,000 digits": http(f"GET {TASKS}/task_{'9' * 5000}_{'9' * 5000}"),
    "a foreign after": http(f"GET {TASKS}?after=task_1_{'9' * 10_000}"),
    "a long limit": http(f"GET {TASKS}?limit={'9' * 10_000}"),
    "many arguments": http("GET " + TASKS + "?" + "a=b&" * 3_000 + "status=x"),
    "a long Range": http("GET /health", "Range: bytes=" + "9" * 10_000 + "-"),
    "a long key": http(f"POST {TASKS}", "Idempotency-Key: " + "k" * 10_000, "Content-Length: 2", body=b"{}"),
}
GOOD = {"HTTP/0.9 by name": 400, "a long Range": 200}


@pytest.mark.parametrize("request_bytes", ODD.values(), ids=ODD)
def test_an_odd_request_gets_a_sentence_and_harms_nobody(door, request_bytes):
    answer = door.raw(request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert 200 <= status < 500 or status == 501, answer
    if status != 200:
        assert list(json.loads(body)) == ["detail"]
    assert b"Traceback" not in answer
    assert not re.search(rb"(?im)^(server|via):", head)
    for name in (b"Content-Security-Policy", b"Cache-Control", b"Referrer-Policy", b"X-Content-Type-Options"):
        assert head.count(b"\r\n" + name + b": ") == 1
    assert door.get("/health").status == 200


ASKING = ["POST / HTTP/1.1", "Host: localhost", "Expect: 100-continue", "Connection: close"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),  # waitress would say "continue" and wait for a body that was never promised
        (["Content-Length: 0"], 200),
        (["Content-Length: x"], 400),
        ([f"Content-Length: {5 * MIB}"], 413),  # known before it was sent
    ],
)
def test_who_asks_first_is_answered_at_once_if_there_is_nothing_to_wait_for(headers, status):
    with Running(hello) as running:
        answer = exchange(running.port, "\r\n".join([*ASKING, *headers, "", ""]).encode())
        assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_who_leaves_in_the_middle_leaves_nothing_behind(door):
    before = len(door.server._clients())
    for part in (b"", b"GET", http(f"POST {TASKS}", "Content-Length: 90000", body=b"x" * 50_000)):
        for half_close in (False, True):
            line = connected(door.port)
            with line:
                line.sendall(part)
                if half_close:
                    line.shutdown(socket.SHUT_WR)
    until(lambda: len(door.server._clients()) <= before, "all forgotten")
    assert door.server._larder.held == 0
    assert door.get("/health").status == 200
