"""The engine's process: real ones, that speak, fail, crash, hang and die."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from pathlib import Path

import pytest

from daemon.audio import Audio
from daemon.engines import SPECS
from daemon.engines.base import Clip, EngineSettings, Segment, SegmentError, Utterance
from daemon.errors import EngineDied, EngineUnavailable, SpeechFailed
from daemon.host import Host, HostState, Limits
from daemon.host.answers import HEARD
from tests.live import PATIENCE, until, write_wav


def utterance(prompt, text="A text.", seed=0):
    return Utterance(Segment(text), Clip(prompt, "ab" * 32), seed=seed)


def make_host(folder, name="tone", timeout=PATIENCE, limits=None, **options):
    settings = EngineSettings(model_dir=None, device="cpu", options=options, cache_dir=folder)
    return Host(dataclasses.replace(SPECS["tone"], name=name), settings, timeout, "debug", limits, log_texts=True)


@pytest.fixture(scope="module")
def prompt(tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("prompts") / "alice.wav")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """One tone engine that misbehaves on demand, shared: each test leaves it able to go on."""
    made = make_host(tmp_path_factory.mktemp("cache"), fail_on="FAIL", crash_on="CRASH", poison_on="POISON", picky=True)
    yield made
    made.close()


def is_gone(pid):
    """Whether a process is dead, a zombie included."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_loaded_engine_says_what_it_is(host):
    facts = host.load()
    assert (facts.sample_rate, facts.max_batch, facts.identity) == (24_000, 1, "tone-1")
    assert (host.state, host.name) == (HostState.READY, "tone")


def test_a_text_is_cut_and_spoken(host, prompt):
    first, second = host.split("One. Two!", {})
    assert (first.text, second.text) == ("One.", " Two!")
    spoken = host.speak([utterance(prompt, first.text)])
    assert [type(result) for result in spoken.results] == [Audio]
    assert spoken.results[0].seconds == pytest.approx(0.2)
    assert spoken.took > 0


def test_a_failing_segment_leaves_the_process_alone(host, prompt):
    pid = host.load() and host.pid
    spoken = host.speak([utterance(prompt, "FAIL")])
    assert spoken.results == (SegmentError("the engine failed: RuntimeError: the text holds 'FAIL'"),)
    assert spoken.took >= 0
    assert isinstance(host.speak([utterance(prompt)]).results[0], Audio)
    assert host.pid == pid


def test_a_crash_is_named_and_the_process_replaced(host, prompt):
    host.load()
    pid = host.pid
    with pytest.raises(EngineDied, match="the engine's process was killed by SIGKILL"):
        host.speak([utterance(prompt, "CRASH")])
    assert (host.state, host.pid) == (HostState.STOPPED, None)
    assert isinstance(host.speak([utterance(prompt)]).results[0], Audio)
    assert host.pid not in (None, pid)


def test_a_hanging_engine_is_killed_and_replaced(tmp_path, prompt):
    host = make_host(tmp_path, timeout=0.3, hang_on="HANG")
    host.load()
    pid = host.pid
    with pytest.raises(EngineDied, match=r"the engine did not answer within 0\.3 s"):
        host.speak([utterance(prompt, "HANG")])
    assert is_gone(pid)
    host.load()
    assert host.pid not in (None, pid)
    host.close()


def test_an_engine_that_cannot_go_on_says_why_and_is_replaced(host, prompt):
    host.load()
    pid = host.pid
    with pytest.raises(EngineDied, match=r"the engine's process gave up: RuntimeError: the text holds 'POISON'$"):
        host.speak([utterance(prompt, "POISON")])
    assert is_gone(pid)
    assert isinstance(host.speak([utterance(prompt)]).results[0], Audio)
    assert host.pid not in (None, pid)


def test_an_engine_that_cannot_go_on_after_it_cut_a_text_is_replaced_too(tmp_path, prompt):
    host = make_host(tmp_path, split_poison_on="POISON")
    host.load()
    pid = host.pid
    with pytest.raises(EngineDied, match=r"the engine's process gave up: RuntimeError: the text holds 'POISON'$"):
        host.split("POISON", {})
    assert is_gone(pid)
    assert isinstance(host.speak([utterance(prompt)]).results[0], Audio)
    host.close()


@pytest.mark.parametrize("culprit", range(5))
def test_one_failing_row_of_a_batch_fails_alone(host, prompt, culprit):
    texts = ["FAIL" if row == culprit else "Fine." for row in range(5)]
    results = host.speak([utterance(prompt, text) for text in texts]).results
    assert [isinstance(result, SegmentError) for result in results] == [row == culprit for row in range(5)]


def test_an_engine_that_died_while_idle_is_replaced_before_the_next_call(host, prompt):
    host.load()
    pid = host.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: is_gone(pid), "its death")
    assert host.load()
    assert isinstance(host.speak([utterance(prompt)]).results[0], Audio)
    assert host.pid != pid


def test_ctrl_c_does_not_reach_the_engine(host, prompt):
    host.load()
    assert os.getsid(host.pid) != os.getsid(0)
    os.kill(host.pid, signal.SIGINT)
    assert isinstance(host.speak([utterance(prompt)]).results[0], Audio)


def test_what_native_code_prints_ends_where_the_log_does(host):
    host.load()
    ends = [Path(f"/proc/{host.pid}/fd/{number}").readlink() for number in (0, 1, 2)]
    assert ends[0] == Path(os.devnull)
    assert ends[1] == ends[2]


def test_what_an_engine_prints_goes_to_the_log_at_debug_level_line_by_line(tmp_path, prompt, capfd):
    host = make_host(tmp_path, print_on="LOUD")
    host.speak([utterance(prompt, "LOUD")])
    host.close()
    lines = [line for line in capfd.readouterr().err.splitlines() if "indexttsd.engine.noise" in line]
    assert all(" DEBUG " in line for line in lines)
    assert [line.partition("noise: ")[2] for line in lines[:3]] == ["printed, not logged", "10%", "20%"]
    assert "UserWarning: this is a warning" in lines[3]


def test_the_engine_dies_with_the_thread_that_owns_it(tmp_path):
    host = make_host(tmp_path)
    owner = threading.Thread(target=host.load)
    owner.start()
    owner.join()
    until(lambda: is_gone(host.pid), "the engine's death")
    host.close()


def test_closing_ends_the_process(tmp_path):
    host = make_host(tmp_path)
    host.load()
    pid = host.pid
    host.close()
    host.close()
    assert is_gone(pid)
    assert (host.pid, host.state) == (None, HostState.STOPPED)


def test_an_engine_that_cannot_be_loaded_says_why(tmp_path):
    host = make_host(tmp_path, name="missing")
    with pytest.raises(EngineUnavailable, match="missing") as unavailable:
        host.load()
    assert (host.state, host.reason, host.pid) == (HostState.UNAVAILABLE, str(unavailable.value), None)


def test_a_text_with_nothing_to_say_fails_in_a_sentence(tmp_path):
    """Which texts those are is the engine's to say; a wrong call of any kind comes back the same way."""
    host = make_host(tmp_path)
    with pytest.raises(SpeechFailed, match="the engine could not split the text"):
        host.split(None, {})
    host.close()


def test_a_fault_of_the_process_itself_is_in_the_log(tmp_path, prompt, capfd):
    host = make_host(tmp_path)
    with pytest.raises(EngineDied, match="the engine's process ended with status 1"):
        host._call({"do": "nothing that is known"}, HEARD)
    log = capfd.readouterr().err
    assert "CRITICAL indexttsd.engine: the engine's process broke" in log
    assert "KeyError" in log
    host.close()


def test_a_stop_during_a_load_makes_it_fail_at_once(tmp_path):
    host = make_host(tmp_path)
    host.abandon_load()
    with pytest.raises(EngineUnavailable, match="stopped"):
        host.load()
    assert host.pid is None


# Recordings


def test_a_recording_is_inspected_by_the_engines_rules(host, prompt, tmp_path):
    assert host.inspect(prompt).fault is None
    (tmp_path / "letter.wav").write_text("no recording")
    assert "cannot be read as audio" in host.inspect(tmp_path / "letter.wav").fault


def test_a_recording_nobody_foresaw_is_at_fault_and_costs_no_process(host):
    host.load()
    pid = host.pid
    assert "it cannot be listened to (ValueError: " in host.inspect(Path("nul\0.wav")).fault
    assert host.pid == pid


def test_advice_comes_along(host, prompt):
    assert host.inspect(prompt).advice == ("it is 1.0 s long: 3 to 15 s of clean speech are best",)


def test_a_process_that_dies_over_a_recording_once_is_not_that_recordings_fault(tmp_path, prompt):
    host = make_host(tmp_path)
    host.load()
    os.kill(host.pid, signal.SIGSTOP)
    threading.Timer(0.2, os.kill, (host.pid, signal.SIGKILL)).start()
    assert host.inspect(prompt).fault is None
    host.close()


def test_a_recording_that_takes_two_processes_down_is_at_fault(tmp_path, prompt):
    host = make_host(tmp_path, timeout=1e-6)  # no answer is that quick
    fault = host.inspect(prompt).fault
    assert fault.startswith("the engine does not survive listening to it (the engine did not answer within")
    host.close()


# Memory and idleness


def test_a_process_that_grew_past_its_limit_says_so_and_is_replaced_when_told(tmp_path, prompt):
    host = make_host(tmp_path, limits=Limits(rss_mb=150), grow_mb=200)
    host.load()
    pid = host.pid
    assert host.overweight() is None
    host.speak([utterance(prompt)])
    assert "and engine.recycle_rss_mb allows 150" in host.overweight()
    assert host.pid == pid
    host.recycle()
    assert is_gone(pid)
    assert (host.state, host.overweight()) == (HostState.STOPPED, None)
    assert isinstance(host.speak([utterance(prompt)]).results[0], Audio)
    host.close()


def test_without_a_limit_no_process_is_too_heavy(host, prompt):
    host.speak([utterance(prompt)])
    assert host.overweight() is None


def test_a_limit_below_what_the_loaded_engine_needs_is_told_and_not_heeded(tmp_path, prompt, caplog):
    host = make_host(tmp_path, limits=Limits(rss_mb=1))
    host.speak([utterance(prompt)])
    assert "needs more already when it is loaded" in caplog.text
    assert host.overweight() is None
    host.close()


def test_an_unloaded_engine_has_no_process_and_comes_back_with_the_next_call(tmp_path, prompt):
    host = make_host(tmp_path)
    host.load()
    pid = host.pid
    host.unload()
    assert is_gone(pid)
    assert (host.state, host.pid) == (HostState.UNLOADED, None)
    assert isinstance(host.speak([utterance(prompt)]).results[0], Audio)
    assert host.state is HostState.READY
    host.close()


def test_options_that_another_engine_took_fail_in_a_sentence(host):
    with pytest.raises(SpeechFailed, match=r"^tone, which is the engine now, does not take .* unknown key 'emo_text';"):
        host.split("A text.", {"emo_text": "sad"})
