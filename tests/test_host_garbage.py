"""What the engine's process must not be able to do to the daemon: whatever it writes on the line, it is replaced."""

from __future__ import annotations

import json
import resource
import struct

import pytest

from daemon.audio import Audio
from daemon.engines.base import Clip, Segment, Utterance
from daemon.errors import EngineDied
from daemon.host import HostState
from daemon.host.deaths import Deaths
from tests.live import write_wav
from tests.test_host import is_gone
from tests.workshop import make_host

SOUND = {"bytes": 4}
GOOD = {"call": 2, "memory": {"rss": 1, "gpu": 0}, "results": [SOUND], "took": 0.1}


def frame(text, blob=b"", *, text_bytes=None, blob_bytes=None):
    """A frame, its lengths true unless others are given, a character for a byte."""
    data = text if isinstance(text, bytes) else json.dumps(text).encode()
    lengths = (len(data) if text_bytes is None else text_bytes, len(blob) if blob_bytes is None else blob_bytes)
    return (struct.pack("!4sII", b"itts", *lengths) + data + blob).decode("latin-1")


GARBAGE = {
    "no frame": "HTTP/1.1 200 OK\r\n\r\n",
    "zeros": "\0" * 1000,
    "a text of 4 GB": frame(b"{", text_bytes=2**32 - 1),
    "a blob of 4 GB": frame(GOOD, blob_bytes=2**32 - 1),
    "more sound than a call can bring": frame(GOOD, blob_bytes=65 << 20),
    "no JSON": frame(b"{nonsense}"),
    "a tower of brackets": frame(b"[" * 100_000),
    "no object": frame([GOOD]),
    "nothing": frame({}),
    "no number": frame({key: value for key, value in GOOD.items() if key != "call"}),
    "an answer to another call": frame(GOOD | {"call": 1}, b"abcd"),
    "no memory": frame({key: value for key, value in GOOD.items() if key != "memory"}, b"abcd"),
    "no results": frame({key: value for key, value in GOOD.items() if key != "results"}),
    "results that are none": frame(GOOD | {"results": [7]}),
    "too few results": frame(GOOD | {"results": []}),
    "too many results": frame(GOOD | {"results": [SOUND, SOUND]}, b"abcdabcd"),
    "too little sound": frame(GOOD, b"ab"),
    "too much sound": frame(GOOD, b"abcdef"),
    "half a sample": frame(GOOD | {"results": [{"bytes": 3}]}, b"abc"),
    "less than no sound": frame(GOOD | {"results": [{"bytes": -4}]}),
    "an error that is no text": frame(GOOD | {"results": [{"error": None}]}),
    "a giving up no ledger can hold": frame({"gave_up": "\ud800" * 10_000}),
    "an endless time": frame(GOOD | {"took": float("inf")}, b"abcd"),
    "a time before the call": frame(GOOD | {"took": -1}, b"abcd"),
    "another call's answer": frame({"call": 2, "memory": GOOD["memory"], "segments": []}),
}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    made = make_host(tmp_path_factory.mktemp("cache"), babble_on="BABBLE")
    yield made
    made.close()


@pytest.fixture
def say(host, tmp_path):
    prompt = Clip(write_wav(tmp_path / "alice.wav"), "ab" * 32)
    return lambda text: host.speak([Utterance(Segment(text), prompt)])


@pytest.mark.parametrize("babble", GARBAGE.values(), ids=GARBAGE)
def test_whatever_is_no_answer_ends_the_process_that_sent_it(host, say, babble):
    host.recycle()
    host.load()  # call 1
    pid = host.pid
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EngineDied, match=r"what is no answer|answered nonsense|gave up") as died:
        say("BABBLE" + babble)
    assert is_gone(pid)
    assert len(str(died.value).encode()) < 2000, "it can be told and kept"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024, "it cost no memory to speak of"
    assert isinstance(say("Fine.").results[0], Audio)
    assert host.pid not in (None, pid)


def test_what_is_left_on_the_line_does_not_pass_for_the_next_answer(host, say):
    host.recycle()
    host.load()
    pid = host.pid
    assert say("BABBLE" + frame(GOOD, b"abcd")).results == (Audio(b"abcd", 24_000),), "it came first, and fits"
    with pytest.raises(EngineDied, match="an answer to call 2 instead of 3"):
        say("Fine.")
    assert is_gone(pid)


def test_a_fault_no_ledger_can_hold_is_told_in_signs_that_it_can(host, say):
    host.recycle()
    host.load()
    answer = GOOD | {"results": [{"error": "\ud800" + "x" * 10_000}]}
    [fault] = say("BABBLE" + frame(answer)).results
    assert fault.message == "?" + "x" * 999


def test_a_speech_whose_engine_babbles_is_charged_like_one_that_kills_it(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, babble_on="BABBLE"))
    bad, good = shop.add("BABBLE at random", "Fine.")
    shop.worker.step()
    assert (shop.store.task(bad).attempts, shop.host.state) == (1, HostState.STOPPED)
    shop.work_off()
    assert shop.view(bad)["error"] == "given up after 3 attempts: the engine's process sent what is no answer"
    assert shop.view(good)["status"] == "completed"


# Back-off


def test_the_fourth_death_in_a_row_and_each_further_one_is_followed_by_a_longer_pause():
    deaths = Deaths()
    owed = []
    for _ in range(12):
        deaths.count("it was killed")
        owed.append(deaths.owed())
    assert owed == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert 59 < deaths.pause() <= 60
    assert (
        deaths.sentence()
        == "the engine died 12 times in a row and is loaded again after 60 s; the last time it was killed"
    )
    deaths.forget()
    assert (deaths.in_a_row, deaths.owed(), deaths.pause()) == (0, 0, 0)
