"""Finished segments on disk, and how damage is noticed."""

from __future__ import annotations

import pytest

from daemon.audio import Audio
from daemon.errors import StorageUnavailable
from daemon.spool import Spool

PLAN = [{"text": "好", "pause": 0.1}, {"text": "b", "pause": 0.0}]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state/spool"


@pytest.fixture
def spool(folder):
    return Spool(folder)


@pytest.fixture
def shelf(spool):
    made = spool.shelf(7)
    made.keep_plan("key", PLAN)
    return made


def test_a_plan_comes_back_for_its_key(spool, shelf):
    assert spool.shelf(7).plan("key") == PLAN


def test_a_plan_of_another_key_is_removed_with_its_segments(spool, shelf, folder):
    shelf.keep(0, Audio(b"\1\2", 24_000))
    assert spool.shelf(7).plan("other") is None
    assert list(folder.iterdir()) == []


def test_a_shelf_without_a_plan_has_none(spool):
    assert spool.shelf(1).plan("key") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 40, b"\xff\xfe", b"{}"])
def test_a_damaged_plan_is_none(shelf, folder, damage):
    (folder / "7/plan.json").write_bytes(damage)
    assert shelf.plan("key") is None


def test_a_segment_comes_back_as_it_was(spool, shelf):
    shelf.keep(1, Audio(b"\1\2\3\4", 22_050))
    assert spool.shelf(7).segment(1) == Audio(b"\1\2\3\4", 22_050)


def test_an_empty_segment_is_kept_too(shelf):
    shelf.keep(0, Audio(b"", 24_000))
    assert shelf.segment(0) == Audio(b"", 24_000)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"\0" * len(data),
        lambda data: b"seg2" + data[4:],
    ],
    ids=["empty", "cut in its head", "cut", "longer", "one bit", "zeros", "another version"],
)
def test_a_damaged_segment_is_missing(shelf, folder, damage):
    shelf.keep(0, Audio(b"\1\2\3\4", 24_000))
    file = folder / "7/0.pcm"
    file.write_bytes(damage(file.read_bytes()))
    assert shelf.segment(0) is None
    assert list(shelf.missing(1)) == [0]


def test_a_segment_whose_place_on_the_disk_is_lost_is_missing_and_can_be_kept_anew(shelf, folder):
    shelf.keep(0, Audio(b"\1\2", 24_000))
    (folder / "7/0.pcm").unlink()
    (folder / "7/0.pcm").symlink_to("/proc/self/mem")  # whose first bytes are an EIO
    assert shelf.segment(0) is None
    shelf.keep(0, Audio(b"\1\2", 24_000))
    assert shelf.segment(0) == Audio(b"\1\2", 24_000)


def test_a_plan_that_cannot_be_read_for_now_destroys_nothing(shelf, folder):
    shelf.keep_plan("key", PLAN)
    shelf.keep(0, Audio(b"\1\2", 24_000))
    (folder / "7/plan.json").rename(folder / "plan")
    (folder / "7/plan.json").symlink_to("/proc/self/mem")
    with pytest.raises(StorageUnavailable, match="Input/output error"):
        shelf.plan("key")
    (folder / "plan").rename(folder / "7/plan.json")
    assert shelf.plan("key") == PLAN
    assert list(shelf.missing(1)) == []


def test_the_missing_segments_come_in_order(shelf):
    shelf.keep(1, Audio(b"\1\2", 24_000))
    shelf.keep(3, Audio(b"\1\2", 24_000))
    assert list(shelf.missing(5)) == [0, 2, 4]


def test_a_cleared_shelf_is_empty_and_may_be_cleared_again(shelf, folder):
    shelf.keep(0, Audio(b"\1\2", 24_000))
    shelf.clear()
    shelf.clear()
    assert shelf.segment(0) is None
    assert list(folder.iterdir()) == []


def test_the_sweep_keeps_only_the_shelves_in_work(spool, folder):
    for speech in (1, 2, 12):
        spool.shelf(speech).keep_plan("key", PLAN)
    spool.sweep(lambda: {2, 99})
    assert [file.name for file in folder.iterdir()] == ["2"]


def test_the_sweep_of_an_empty_spool_asks_nobody(spool):
    spool.sweep(lambda: pytest.fail("the ledger was asked, which reads all it ever kept"))
