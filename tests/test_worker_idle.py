"""What the worker does between tasks: new recordings, an engine nobody needs, one that grew too heavy."""

from __future__ import annotations

import threading

import pytest

from daemon.errors import BadRequest
from daemon.host import HostState, Limits
from daemon.tasks import State
from tests.live import PATIENCE, until, write_wav
from tests.workshop import VOICES, make_host


def test_an_idle_engine_is_unloaded_and_comes_back_with_the_next_task(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path), unload_after=0.01)
    running = threading.Thread(target=shop.worker.run)
    running.start()
    try:
        until(lambda: shop.host.state is HostState.UNLOADED)
        assert shop.host.pid is None
        [task_id] = shop.add("Hello.")
        shop.bell.ring()
        until(lambda: shop.store.task(task_id).state is State.COMPLETED)
        until(lambda: shop.host.state is HostState.UNLOADED)
    finally:
        shop.worker.stop()
        running.join(PATIENCE)


def test_an_unloaded_engine_stays_so_while_nothing_waits(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path))
    shop.work_off()
    shop.host.unload()
    write_wav(tmp_path / "prompts" / "new.wav")
    assert not shop.worker.step()
    assert shop.host.state is HostState.UNLOADED
    shop.add("Hello.")
    assert shop.worker.step()
    assert shop.host.state is HostState.READY


def test_new_recordings_are_listened_to_one_between_two_speeches(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, picky=True))
    (tmp_path / "prompts" / "aaa.wav").write_text("this is a text")
    [first, second] = shop.add("Hello.", "Hello again.")
    shop.worker.step()
    assert shop.prompts.uninspected()[0].name == VOICES[0], "one is judged"
    assert [shop.view(task_id)["status"] for task_id in (first, second)] == ["completed", "pending"]
    with pytest.raises(BadRequest, match=r"Specified prompt 'aaa\.wav' cannot be used: "):
        shop.prompts.choose("aaa.wav")
    shop.work_off()
    assert shop.prompts.uninspected() is None
    assert shop.prompts.choose(VOICES[0]) == VOICES[0]


def test_an_engine_that_grew_too_heavy_is_replaced_between_two_tasks(make_workshop, tmp_path):
    shop = make_workshop(make_host(tmp_path, limits=Limits(rss_mb=150), grow_mb=200))
    ids = shop.add("One.", "Two.")
    shop.worker.step()
    assert (shop.host.state, shop.view(ids[0])["status"]) == (HostState.STOPPED, "completed")
    shop.work_off()
    assert shop.view(ids[1])["status"] == "completed"
