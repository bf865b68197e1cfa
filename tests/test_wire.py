"""Frames between the daemon and its engine."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from daemon import wire


@pytest.fixture
def line():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    ("message", "blob"),
    [
        ({}, b""),
        ({"do": "speak", "text": "你好 😀 \u0000", "n": 2**63, "none": None}, b"\0\1\2"),
        ({"text": "x" * 3_000_000}, bytes(5_000_000)),
    ],
    ids=["empty", "odd signs", "larger than any buffer"],
)
def test_a_frame_arrives_as_it_was_sent(line, message, blob):
    ours, theirs = line
    sender = threading.Thread(target=wire.send, args=(theirs, message, blob))
    sender.start()
    assert wire.receive(ours, 60, longest_blob=len(blob)) == (message, blob)
    sender.join()


def test_the_last_answer_of_one_who_leaves_at_once_is_heard(line):
    ours, theirs = line

    class Hasty(socket.socket):
        """Whoever reads what it sends answers and leaves before the next line of code."""

        def sendall(self, data):
            super().sendall(data)
            wire.receive(theirs)
            wire.send(theirs, {"gave_up": "ill"})
            theirs.close()

    with Hasty(fileno=ours.detach()) as hasty:
        wire.send(hasty, {"do": "speak"})
        assert wire.receive(hasty) == ({"gave_up": "ill"}, b"")


def test_frames_keep_their_order(line):
    ours, theirs = line
    for n in range(10):
        wire.send(theirs, {"n": n}, bytes([n]))
    assert [wire.receive(ours, longest_blob=1) for _ in range(10)] == [({"n": n}, bytes([n])) for n in range(10)]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"itt",
        struct.pack("!4sII", b"itts", 10, 0) + b"{}",
        struct.pack("!4sII", b"itts", 2, 5) + b"{}abc",
        struct.pack("!4sII", b"http", 2, 0) + b"{}",
        struct.pack("!4sII", b"itts", 2**31, 0),
        struct.pack("!4sII", b"itts", 2, 9) + b"{}" + bytes(9),
        struct.pack("!4sII", b"itts", 3, 0) + b"{a}",
        struct.pack("!4sII", b"itts", 2, 0) + b"\xff\xfe",
        struct.pack("!4sII", b"itts", 2, 0) + b"[]",
        struct.pack("!4sII", b"itts", 100_000, 0) + b"[" * 100_000,
    ],
    ids=[
        *("nothing", "half a head", "half a text", "half a blob", "another protocol", "huge text", "too long a blob"),
        *("no JSON", "no UTF-8", "no object", "a tower"),
    ],
)
def test_what_is_no_frame_breaks_the_line(line, sent):
    ours, theirs = line
    theirs.sendall(sent)
    theirs.close()
    with pytest.raises(wire.WireBroken):
        wire.receive(ours, 60, longest_blob=8)


@pytest.mark.parametrize("sent", [b"", struct.pack("!4sII", b"itts", 2, 0) + b"{"], ids=["silence", "half a frame"])
def test_a_frame_that_does_not_come_is_a_timeout(line, sent):
    ours, theirs = line
    theirs.sendall(sent)
    ours.settimeout(60)
    with pytest.raises(TimeoutError):
        wire.receive(ours, 0.05)
    assert ours.gettimeout() == 60, "the line's own patience is as it was"


def test_sending_to_nobody_is_an_error(line):
    ours, theirs = line
    theirs.close()
    with pytest.raises(OSError):
        wire.send(ours, {})
