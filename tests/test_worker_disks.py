"""A worker whose disks fill up while it works: it waits, says why, goes on by itself, and holds no speech guilty."""

from __future__ import annotations

import contextlib
import shutil
import threading

import pytest

from daemon import prompts as catalogues
from daemon.errors import BadRequest
from daemon.store import Store
from daemon.tasks import BATCH_MODE, State
from tests.disks import fill, injected, small_disk
from tests.live import PATIENCE, until
from tests.workshop import make_host, open_workshop, rows

IN_ENGINE = "SELECT 1 FROM speeches WHERE state = 'processing' AND (attempts OR in_company)"
BLAMED = "SELECT id FROM speeches WHERE state != 'processing' AND (attempts OR in_company)"
DONE = "SELECT id FROM speeches WHERE state = 'completed'"
TEXT = "One. Two. Three."


@pytest.fixture
def make_shop(tmp_path, empty_ledger):
    """Makes a worker, one of whose folders is a small disk: its workshop, the disk and the ledger's file."""
    with contextlib.ExitStack() as undo:

        def make(which, **options):
            folders = {name: tmp_path / name for name in ("spool", "outputs", "ledger")}
            disk = undo.enter_context(small_disk(folders[which], 8))
            folders["ledger"].mkdir(exist_ok=True)
            ledger = shutil.copy(empty_ledger, folders["ledger"] / "indexttsd.db")
            store, host = Store(ledger), make_host(tmp_path, **options)
            undo.callback(store.close)
            undo.callback(host.close)
            return open_workshop(tmp_path, store, host, max_attempts=1), disk, ledger

        yield make


@contextlib.contextmanager
def at_work(shop):
    running = threading.Thread(target=shop.worker.run)
    running.start()
    try:
        yield
    finally:
        shop.worker.stop()
        running.join(PATIENCE)
        assert not running.is_alive()


@pytest.mark.parametrize("which", ["spool", "outputs", "ledger"])
def test_a_disk_that_fills_up_costs_nobody_an_attempt(make_shop, which):
    """With a single attempt for each, whoever is charged is failed at his next turn."""
    shop, disk, ledger = make_shop(which, delay_seconds=0.05, max_batch=4)
    ids = [*shop.add(*[TEXT] * 8), *shop.add(*[TEXT] * 16, infer_mode=BATCH_MODE)]
    with at_work(shop):
        for done in (2, 16):  # while one is spoken alone, and while a crew is
            until(lambda done=done: len(rows(ledger, DONE)) >= done and rows(ledger, IN_ENGINE), "a call")
            filler = fill(disk)
            [said] = until(shop.troubles.sentences, "the trouble")
            assert which in said
            assert rows(ledger, BLAMED) == []
            filler.unlink()
            until(lambda: not shop.troubles.sentences(), "its end")
        until(lambda: all(shop.store.task(task_id).state is State.COMPLETED for task_id in ids), "all tasks")
    assert rows(ledger, BLAMED) == []
    assert len(shop.files()) == len(ids)


def test_a_full_disk_stops_a_long_text_at_its_next_segment(make_shop):
    shop, disk, ledger = make_shop("outputs", delay_seconds=0.05)
    [task_id] = shop.add(TEXT * 30)
    with at_work(shop):
        until(lambda: shop.store.task(task_id).segments_done, "the first segment")
        filler = fill(disk)
        until(shop.troubles.sentences, "the trouble")
        assert shop.store.task(task_id).segments_done < 90
        assert rows(ledger, BLAMED) == []
        filler.unlink()
        until(lambda: shop.store.task(task_id).state is State.COMPLETED, "the end")


def test_a_text_that_was_cut_while_the_spool_was_full_is_not_charged_for_it(make_shop):
    shop, disk, ledger = make_shop("spool")
    filler = fill(disk)
    [task_id] = shop.add(TEXT)
    with at_work(shop):
        until(shop.troubles.sentences, "the trouble")
        assert rows(ledger, BLAMED) == []
        filler.unlink()
        until(lambda: shop.store.task(task_id).state is State.COMPLETED, task_id)


def test_a_stop_while_the_ledger_is_full_ends_the_worker_and_the_next_goes_on(make_shop, tmp_path):
    shop, disk, ledger = make_shop("ledger", delay_seconds=0.05)
    [task_id] = shop.add(TEXT)
    with at_work(shop):
        until(lambda: rows(ledger, IN_ENGINE), "a call")
        filler = fill(disk)
        until(shop.troubles.sentences, "the trouble")
    filler.unlink()
    shop.store.recover()
    host = make_host(tmp_path)
    open_workshop(tmp_path, shop.store, host).work_off()
    host.close()
    assert shop.view(task_id)["status"] == "completed"


@pytest.mark.parametrize("which", ["spool", "prompts"])
def test_a_folder_that_cannot_be_used_fails_nobody_and_all_are_spoken_when_it_can(make_workshop, tmp_path, which):
    shop = make_workshop()
    tasks = shop.add(TEXT, TEXT)
    (tmp_path / which).rename(tmp_path / "away")
    (tmp_path / which).write_text("in the way")
    with at_work(shop):
        [said] = until(shop.troubles.sentences, "the trouble")
        assert (str(tmp_path / which) in said, "Not a directory" in said) == (True, True)
        (tmp_path / which).unlink()
        (tmp_path / "away").rename(tmp_path / which)
        until(lambda: all(shop.store.task(task_id).state is State.COMPLETED for task_id in tasks), "both")
    assert shop.troubles.sentences() == []


def test_a_spool_that_was_removed_is_made_anew(make_workshop, tmp_path):
    shop = make_workshop()
    (tmp_path / "spool").rmdir()
    [task_id] = shop.add(TEXT)
    with at_work(shop):
        until(lambda: shop.store.task(task_id).state is State.COMPLETED, task_id)
        shutil.rmtree(tmp_path / "spool")
        [task_id] = shop.add(TEXT)
        shop.bell.ring()
        until(lambda: shop.store.task(task_id).state is State.COMPLETED, task_id)


@pytest.mark.parametrize("call", ["openat", "read"])
def test_a_recording_that_the_disk_does_not_give_is_accepted_and_judged_when_it_does(
    make_workshop, tmp_path, monkeypatch, caplog, call
):
    monkeypatch.setattr(catalogues, "_AGAIN", 0.2)
    host = make_host(tmp_path, picky=True)
    shop = make_workshop(host)
    host.load()
    letter = tmp_path / "prompts" / "letter.wav"
    letter.write_text("Dear Sir or Madam, this is no recording.")
    with injected(host.pid, f"{call}:error=EIO", letter):
        until(lambda: shop.work_off() or "letter.wav could not be listened to" in caplog.text, "the trouble")
        assert shop.prompts.choose("letter.wav") == "letter.wav"
        [task_id] = shop.add(TEXT, prompt="letter.wav")
        shop.work_off()
        assert shop.view(task_id)["status"] == "completed"
    with pytest.raises(BadRequest, match=r"'letter\.wav' cannot be used: it cannot be read as audio"):
        until(lambda: shop.work_off() or not shop.prompts.choose("letter.wav"), "its verdict")
    assert caplog.text.count("could not be listened to, and will be again: it cannot be read: Input/output error") == 1
