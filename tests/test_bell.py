"""The bell: a ring is never missed."""

from __future__ import annotations

import threading

from daemon.bell import Bell
from tests.live import PATIENCE


def test_a_ring_before_the_wait_is_heard():
    bell = Bell()
    heard = bell.rings
    bell.ring()
    assert bell.wait(heard, PATIENCE) == heard + 1


def test_a_wait_without_a_ring_ends_with_its_time():
    bell = Bell()
    assert bell.wait(bell.rings, 0) == 0


def test_a_ring_wakes_all_who_wait():
    bell, heard = Bell(), []
    threads = [threading.Thread(target=lambda: heard.append(bell.wait(0, PATIENCE))) for _ in range(4)]
    for thread in threads:
        thread.start()
    bell.ring()
    for thread in threads:
        thread.join(PATIENCE)
    assert heard == [1] * 4


def test_rings_are_counted_whoever_rings():
    bell = Bell()
    threads = [threading.Thread(target=lambda: [bell.ring() for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bell.rings == 4000
