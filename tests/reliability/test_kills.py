"""kill -9 at random moments: of the daemon and of the engine's process, while tasks come in through both doors."""

from __future__ import annotations

import functools
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.live import PATIENCE, LiveDaemon, until
from tests.reliability.orders import (
    POISON,
    Accepted,
    Order,
    all_over,
    batch,
    check,
    drop,
    in_threads,
    order,
    post,
    processes_in,
)

pytestmark = pytest.mark.reliability

KILLS = 64
POSTED, DROPPED, ARRAYS, BATCHES = 360, 172, 20, 12
TONE = {"delay_seconds": 0.005, "max_batch": 8, "crash_on": POISON}


class Storm:
    """Kills a daemon and its engine at random moments, and starts the daemon again, as systemd does.

    Between two kills something is spoken, but for those that strike a daemon that is just starting. What was in the
    engine alone is next then, so the storm charges the innocent twice at most: the default of three attempts will do.
    """

    def __init__(self, daemon: LiveDaemon, seed: int, kills: int) -> None:
        self._daemon = daemon
        self._random = random.Random(seed)
        self._kills = kills
        self.of_daemon = self.of_engine = self.of_starts = 0

    @property
    def over(self) -> float:
        """How much of it is over, from 0 to 1."""
        return (self.of_daemon + self.of_engine) / self._kills

    def rage(self) -> None:
        while self.over < 1:
            before = self._files()
            until(lambda before=before: self._files() > before, "the next file")
            time.sleep(self._random.uniform(0, 0.25))
            if self._random.random() < 0.65:
                os.kill(until(self._daemon.engine_pid, "an engine"), signal.SIGKILL)
                self.of_engine += 1
            else:
                self._kill_daemon()
                if self._random.random() < 0.3:
                    time.sleep(self._random.uniform(0.05, 1.2))
                    self._kill_daemon()
                    self.of_starts += 1

    def _kill_daemon(self) -> None:
        assert self._daemon.ended_with() is None, f"it ended by itself: {self._daemon.log.read_text()[-3000:]}"
        self._daemon.stop(signal.SIGKILL)
        self.of_daemon += 1
        self._daemon.spawn()

    def _files(self) -> int:
        return len(list(self._daemon.outputs.glob("*/*.wav")))


def posted_orders(scale: int) -> list[Order]:
    tasks = [order(number, poison=number == 60) for number in range(POSTED * scale)]
    batches = [batch(number, poison=number == 5) for number in range(BATCHES * scale // 2)]
    return tasks + batches


def dropped_orders(scale: int) -> dict[str, list[Order]]:
    numbers = itertools.count(POSTED * scale)
    files = {f"single-{at}": [order(next(numbers), poison=at == 90)] for at in range(DROPPED * scale)}
    files |= {f"array-{at}": [order(next(numbers)) for _ in range(3)] for at in range(ARRAYS * scale)}
    half = BATCHES * scale // 2
    return files | {f"batch-{at}": [batch(half + at)] for at in range(half)}


class Clients:
    """Three that post and one that drops; what they ask is spread over the storm, so that each kill finds work."""

    def __init__(self, daemon: LiveDaemon, storm: Storm, scale: int) -> None:
        self._daemon = daemon
        self._storm = storm
        self._posts = posted_orders(scale)
        self._drops = list(dropped_orders(scale).items())
        for several in (self._posts, self._drops):
            random.Random(5).shuffle(several)
        self.accepted = Accepted()

    def start(self) -> list[threading.Thread]:
        return in_threads(*(functools.partial(self._post, client) for client in range(3)), self._drop)

    def _post(self, client: int) -> None:
        for number in range(client, len(self._posts), 3):
            self._when_due(number / len(self._posts))
            task_id = post(self._daemon, self._posts[number], key=f"order-{number}")
            self.accepted.posted[task_id] = self._posts[number]

    def _drop(self) -> None:
        for number, (name, orders) in enumerate(self._drops):
            self._when_due(number / len(self._drops))
            drop(self._daemon, name, orders)
            self.accepted.dropped[name] = orders

    def _when_due(self, share: float) -> None:
        until(lambda: self._storm.over >= 0.95 * share, "the next kill", 1000)

    @property
    def asked(self) -> int:
        """How many tasks they want."""
        return len(self._posts) + sum(len(orders) for _, orders in self._drops)


def test_sixty_kills_while_tasks_come_in_through_both_doors_lose_double_and_break_nothing(
    make_daemon: Callable[..., LiveDaemon], tell: Callable[[str], None], scale: int
) -> None:
    daemon = make_daemon(engine={"options": TONE}).start()
    storm = Storm(daemon, seed=4, kills=KILLS * scale)
    clients = Clients(daemon, storm, scale)
    threads = clients.start()
    storm.rage()
    for thread in threads:
        thread.join(PATIENCE)
    all_over(daemon, 3 * PATIENCE)

    accepted = clients.accepted
    assert len(accepted.orders) == clients.asked
    counts = check(daemon, accepted)
    assert daemon.stop() == 0
    assert processes_in(daemon.folder) == []
    tell(
        f"{storm.of_daemon} kills of the daemon ({storm.of_starts} while it started) and {storm.of_engine} of the "
        f"engine; {len(accepted.posted)} tasks posted, {clients.asked - len(accepted.posted)} dropped in "
        f"{len(accepted.dropped)} files; {counts['completed']} completed, {counts['failed']} poisonous ones failed; "
        "0 lost, 0 doubled, 0 broken files"
    )
