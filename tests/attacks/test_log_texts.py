"""No text of a task is read in the log, whichever way it goes, until the operator asks for it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.live import until

SECRET = "Zanzibar"
#: What each text meets. All begin with the secret, which no key and no name holds.
FATES = dict.fromkeys(("FAIL", "CRASH", "POISON", "NOSPLIT"), "failed") | dict.fromkeys(("LOUD", "so"), "completed")
ENGINE = {
    "name": "tone",
    "options": {
        "fail_on": f"{SECRET} FAIL",
        "crash_on": f"{SECRET} CRASH",
        "poison_on": f"{SECRET} POISON",
        "split_poison_on": f"{SECRET} NOSPLIT",
        "print_on": f"{SECRET} LOUD",
        "max_batch": 4,
    },
}


def refused(daemon):
    """Requests that cannot be taken, though there is a text in them; what they were told."""
    for body in (
        {"text": SECRET, "output_path": "out", "format": 7},
        {"text": SECRET, "output_path": "out", "colour": "red"},
        {"text": [SECRET], "output_path": "out"},
        {"text": {"say": SECRET}, "output_path": "out"},
        {"text": SECRET, "output_path": "out", "prompt": "nobody"},
        {"text": SECRET * 20_000, "output_path": "out"},
    ):
        answer = daemon.post("/api/tts/tasks", body)
        assert answer.status == 400
        yield answer.detail
    for number, broken in enumerate(
        (
            f'{{"text": "{SECRET}", }}',
            f'["{SECRET}"]',
            f'[{{"text": "{SECRET}", "seed": "x"}}]',
            f'"{SECRET}',
            f'{{"speeches": {{"{SECRET}": "a.wav"}}}}',
            f'{{"text": "a", "prompt_path": "{SECRET}"}}',
        )
    ):
        daemon.drop(f"broken-{number}.json", broken.encode())
        yield json.dumps(daemon.note(f"failed/broken-{number}.json.error.json"))


def every_way(daemon):
    """Send the secret all ways there are, and wait for the end of each."""
    tasks = {word: daemon.submit(f"{SECRET} {word}.") for word in FATES}
    daemon.drop("good.json", {"text": f"{SECRET} dropped."})
    batch = daemon.submit_batch({"a.wav": f"{SECRET} one.", "b.wav": f"{SECRET} FAIL."}, infer_mode="批次推理")
    for word, fate in FATES.items():
        assert daemon.ended(tasks[word])["status"] == fate, word
    daemon.ended(batch)
    daemon.note("done/good.json.result.json")
    assert SECRET in daemon.view(tasks["FAIL"])["error"], "who asked may know it"
    return list(refused(daemon))


@pytest.fixture
def run(make_daemon):
    def run(**log):
        daemon = make_daemon(engine=ENGINE, worker={"max_attempts": 1}, log={"level": "debug", **log}).start()
        told = every_way(daemon)
        ready = daemon.get("/ready").body.decode()
        daemon.stop()
        return daemon.log.read_text(errors="replace"), told, ready

    return run


def test_no_text_is_in_the_log_whatever_befalls_it(run):
    log, _, ready = run()
    assert [line for line in log.splitlines() if SECRET in line] == []
    assert SECRET not in ready
    for found in ("could not be spoken", "gives up", "the engine cannot speak it", "was refused", "is there"):
        assert found in log, "what happened is told all the same"


def test_who_asks_for_the_texts_finds_each_before_it_enters_the_engine_and_what_is_printed(run):
    log, _, _ = run(texts=True)
    for word in ("FAIL.", "CRASH.", "dropped.", "one."):
        assert f"segment 0: {SECRET} {word}" in log
    assert f"RuntimeError: the text holds '{SECRET} FAIL'" in log
    assert "noise: printed, not logged" in log


def test_a_reload_heeds_it_at_once(make_daemon):
    daemon = make_daemon().start()
    daemon.ended(daemon.submit(f"{SECRET} before."))
    daemon.write_config(log={"texts": True})
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: "reloaded: log.texts" in daemon.log.read_text(), "the reload")
    daemon.ended(daemon.submit(f"{SECRET} after."))
    log = daemon.log.read_text()
    assert f"{SECRET} after." in log
    assert f"{SECRET} before." not in log
