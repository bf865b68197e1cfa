"""Ends of a whole daemon: asked to stop whatever it is at, and killed whatever its engine is at."""

from __future__ import annotations

import os
import signal

import pytest

from daemon.tasks import BATCH_MODE
from tests.disks import fill, small_disk
from tests.live import until
from tests.test_host import is_gone
from tests.workshop import rows

pytestmark = pytest.mark.reliability

FAR = 3600  # seconds that no test waits for


def engine_state(daemon):
    return daemon.get("/api/tts/stats").json["engine"]["state"]


def charges(daemon):
    """State, attempts and mark of every speech."""
    return rows(
        daemon.folder / "state" / "indexttsd.db", "SELECT state, attempts, in_company FROM speeches ORDER BY id"
    )


def is_spoken(daemon):
    """Whether a speech is in the engine, and not only being cut."""
    spoken = "SELECT 1 FROM speeches WHERE state = 'processing' AND segments_total AND (attempts OR in_company)"
    return rows(daemon.folder / "state" / "indexttsd.db", spoken)


def check_clean_end(daemon, engine):
    assert daemon.stop(signal.SIGTERM) == 0
    assert "Traceback" not in daemon.log.read_text()
    until(lambda: is_gone(engine), "the engine's end")


@pytest.mark.parametrize("mode", ["普通推理", BATCH_MODE], ids=["alone", "in company"])
def test_a_segment_longer_than_a_stops_patience_is_cut_off_and_nobody_charged(make_daemon, tell, mode):
    daemon = make_daemon(engine={"options": {"hang_on": "HANG", "max_batch": 4}})
    daemon.spawn("tests.hasty", "0.3")
    until(lambda: daemon.log.exists() and "is ready in process" in daemon.log.read_text(), "the engine")
    texts = ["HANG.", "One.", "Two."]
    daemon.drop("three.json", [{"text": text, "infer_mode": mode, "output_path": "out"} for text in texts])
    until(lambda: is_spoken(daemon), "a speech in the engine")
    engine = daemon.engine_pid()
    check_clean_end(daemon, engine)
    assert {charge for charge in charges(daemon) if charge[0] != "completed"} == {("pending", 0, 0)}
    daemon.write_config(engine={"options": {"max_batch": 4}})
    daemon.start()
    assert [view["status"] for view in daemon.note("done/three.json.result.json")] == ["completed"] * 3
    assert len(list((daemon.outputs / "out").iterdir())) == 3
    tell("1 stop within a segment that hangs: exit 0, 0 charged, then 3 of 3 tasks made")


def test_a_stop_while_the_engine_is_loaded_ends_both(make_daemon, tell):
    daemon = make_daemon(engine={"options": {"load_seconds": FAR}}).start(ready=False)
    engine = until(daemon.engine_pid)
    task_id = daemon.submit()
    assert engine_state(daemon) == "loading"
    check_clean_end(daemon, engine)
    assert charges(daemon) == [("pending", 0, 0)]
    daemon.write_config()
    daemon.start()
    assert daemon.ended(task_id)["status"] == "completed"
    tell("1 stop while the engine was loaded: exit 0, both gone, the task made at the next start")


def test_an_engine_that_dies_every_time_is_left_alone_which_everybody_can_see_and_a_stop_ends(make_daemon, tell):
    daemon = make_daemon(engine={"options": {"crash_on": "CRASH"}}, worker={"max_attempts": 100}).start()
    daemon.submit("CRASH.")
    said = until(lambda: b"died 5 times in a row" in (answer := daemon.get("/ready")).body and answer, "it")
    assert (said.status, engine_state(daemon)) == (503, "backoff")
    assert said.detail == (
        "the engine died 5 times in a row and is loaded again after 2 s; "
        "the last time the engine's process was killed by SIGKILL"
    )
    loads = daemon.log.read_text().count("is being loaded")
    assert loads == 5
    assert daemon.stop(signal.SIGTERM) == 0
    assert "Traceback" not in daemon.log.read_text()
    assert charges(daemon) == [("pending", 5, 0)]
    tell(f"5 deaths of the engine in a row: {said.detail!r}; then 1 stop: exit 0")


def test_one_text_that_kills_the_engine_is_failed_and_the_next_makes_the_deaths_forgotten(make_daemon, tell):
    daemon = make_daemon(engine={"options": {"crash_on": "CRASH"}}).start()
    for _ in range(2):
        bad, good = daemon.submit("CRASH."), daemon.submit("Fine.")
        assert daemon.ended(bad)["error"].startswith("given up after 3 attempts")
        assert daemon.ended(good)["status"] == "completed"
    assert daemon.get("/ready").status == 200
    assert "died 4 times" not in daemon.log.read_text()
    tell("2 poisonous texts, 6 deaths of the engine: 2 failed, their 2 neighbours made")


def test_a_stop_while_the_ledgers_disk_is_full_ends_in_good_order(make_daemon, tmp_path, tell):
    with small_disk(tmp_path / "daemon" / "state", 16) as disk:
        daemon = make_daemon(engine={"options": {"delay_seconds": 0.3}}, retention={"min_free_mb": 0}).start()
        task_id = daemon.submit("One. Two. Three. Four. Five. Six.")
        until(lambda: daemon.view(task_id)["segments_done"], "a segment")
        filler = fill(disk)
        until(lambda: daemon.get("/ready").status == 503, "the trouble")
        check_clean_end(daemon, daemon.engine_pid())
        filler.unlink()
        daemon.start()
        assert daemon.ended(task_id)["status"] == "completed"
        daemon.close()
    tell("1 stop while the ledger's disk was full: exit 0, the task made at the next start")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"load_seconds": FAR}, None),
        ({}, None),
        ({"delay_seconds": FAR}, "Slow."),
        ({"hang_on": "HANG"}, "HANG."),
        ({"hang_on": "HANG"}, "HANG. And stopped."),
    ],
    ids=["is being loaded", "is idle", "speaks", "hangs", "is stopped"],
)
def test_a_killed_daemon_leaves_no_engine_whatever_that_is_at(make_daemon, tell, request, options, text):
    daemon = make_daemon(engine={"options": options}).start(ready="load_seconds" not in options)
    engine = until(daemon.engine_pid)
    if text:
        daemon.submit(text)
        until(lambda: is_spoken(daemon), "the speech in the engine")
    if text and "stopped" in text:
        os.kill(engine, signal.SIGSTOP)
    assert not is_gone(engine)
    daemon.stop(signal.SIGKILL)
    until(lambda: is_gone(engine), "the engine's end")
    tell(f"1 kill -9 of a daemon whose engine {request.node.callspec.id}: 0 orphans")
