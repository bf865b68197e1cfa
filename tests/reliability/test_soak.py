"""Thousands of tasks through both doors, while what the daemon uses is measured: it must not grow with them."""

from __future__ import annotations

import threading
import time

import pytest

from tests.live import PATIENCE, until, wav_facts
from tests.reliability.gauges import Gauges
from tests.reliability.orders import Order, drop, post

pytestmark = pytest.mark.reliability

_TASKS = 5000
#: What a client brings before it waits for all of it: 17 posted tasks, a posted batch, a dropped task, a dropped array.
_ROUND = 20
_ARRAY = 31
_TASKS_IN_ROUND = _ROUND - 1 + _ARRAY
#: How long a client waits for one of them, behind those of all others, on a busy machine. Seconds.
_LONGEST_WAIT = 4 * PATIENCE
_INBOX = {"settle_seconds": 0.1, "rescan_seconds": 5}
#: How much more memory may be used in the last quarter than in the second, half of all tasks later: MB per 1,000 tasks.
_GROWTH = 1.0
#: The ledger's log is begun anew at 4 MB, or soon after when somebody reads just then. MB.
_LARGEST_LOG = 16
#: A log and a ledger for the writer and each pooled reader, which come as many as are needed at once, and their index.
_LEDGER_FILES = 2 * (1 + 16) + 1


def task(number):
    mode = "批次推理" if number % 2 else "普通推理"
    return Order({"text": f"Hi {number}.", "output_path": f"tasks/{number // 500}", "infer_mode": mode})


def batch(number):
    speeches = {f"{at}.wav": f"Hi {at}." for at in range(3)}
    return Order({"speeches": speeches, "output_directory": f"batches/{number}", "infer_mode": "批次推理"})


class Clients:
    """Four of them; they bring tasks round by round, so that some hundred wait at most.

    Attributes:
        files: how many files are to be made. broken: why a client gave up.
    """

    def __init__(self, daemon, rounds):
        self._daemon = daemon
        self._rounds = iter(range(rounds))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]
        self.files = 0
        self.broken = []

    def work(self):
        """Bring all of it, and wait until it is made."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        assert self.broken == []

    def _run(self):
        try:
            while (number := self._next()) is not None:
                for ended in [self._bring(number * _ROUND + at, at) for at in range(_ROUND)]:
                    _wait(ended)
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            self.broken.append(error)

    def _next(self):
        with self._lock:
            return next(self._rounds, None)

    def _bring(self, number, at):
        """Bring what is due; returns how to ask whether it is over."""
        match at:
            case 0:
                return self._post(number, batch(number))
            case 7:
                return self._drop(number, [task(number)])
            case 14:
                return self._drop(number, [batch(number), *[task(number + at) for at in range(_ARRAY - 1)]])
            case _:
                return self._post(number, task(number))

    def _post(self, number, order):
        self._count(order)
        task_id = post(self._daemon, order, f"key-{number}")
        return lambda: self._daemon.view(task_id)["status"] == "completed"

    def _drop(self, number, orders):
        self._count(*orders)
        drop(self._daemon, f"drop-{number}", orders)
        return (self._daemon.inbox / "done" / f"drop-{number}.json.result.json").exists

    def _count(self, *orders):
        with self._lock:
            self.files += sum(len(order.texts) for order in orders)


def _wait(ended):
    deadline = time.monotonic() + _LONGEST_WAIT
    while not ended():
        assert time.monotonic() < deadline, "a task did not end"
        time.sleep(0.25)


def all_views(daemon):
    """Every task there is, page by page."""
    after = ""
    while after is not None:
        page = daemon.get(f"/api/tts/tasks?limit=1000{after and f'&after={after}'}").json
        yield from page["tasks"]
        after = page["next"]


@pytest.mark.timeout(0)  # as long as was asked for; every wait in it has an end
def test_thousands_of_tasks_leave_nothing_behind_in_the_daemon(make_daemon, tell, scale, soak_folder):
    rounds = _TASKS * scale // _TASKS_IN_ROUND + 1
    tasks = rounds * _TASKS_IN_ROUND
    daemon = make_daemon(engine={"options": {"max_batch": 8}}, inbox=_INBOX, log={"level": "warning"}).start()
    clients = Clients(daemon, rounds)
    with Gauges(daemon, tasks) as gauges:
        clients.work()
    gauges.write(soak_folder)
    end = gauges.look()
    assert end.completed == tasks
    assert {view["status"] for view in all_views(daemon)} == {"completed"}
    files = [file for file in daemon.outputs.rglob("*") if file.is_file()]
    assert len(files) == clients.files
    assert min(wav_facts(file)[3] for file in files) > 0.2
    until(lambda: gauges.look().spool == 0, "an empty spool")
    tell(f"{tasks} tasks, {tasks / end.seconds:.0f} a second; {_figures(gauges)}; {soak_folder}/soak.svg")
    _check_flat(gauges, tasks)


def _figures(gauges):
    names = ("daemon_mb", "engine_mb", "daemon_files", "ledger_files", "engine_files", "threads")
    spans = (f"{name} {gauges.quarter(2, name):.1f} -> {gauges.quarter(4, name):.1f}" for name in names)
    return f"{', '.join(spans)}, log at most {gauges.most('log_mb'):.1f} MB, spool at most {gauges.most('spool')}"


def _check_flat(gauges, tasks):
    for name in ("daemon_mb", "engine_mb"):
        assert gauges.quarter(4, name) - gauges.quarter(2, name) < _GROWTH * tasks / 2 / 1000, name
    for name in ("daemon_files", "engine_files", "threads"):
        assert gauges.quarter(4, name) <= gauges.quarter(2, name) + 1, name
    assert gauges.most("ledger_files") <= _LEDGER_FILES
    assert gauges.most("log_mb") < _LARGEST_LOG
    assert gauges.most("spool") < 100
