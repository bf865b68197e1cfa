"""kill -9 at every step on a task's way: claim, speak, publish, finish, archive. Each time the daemon is started again,
and everything ends as if nothing had happened: one task, the right bytes, one note, nothing left over.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.live import LiveDaemon, until
from tests.reliability.dying import DIE_AT
from tests.reliability.orders import (
    MODES,
    Accepted,
    Order,
    all_over,
    batch,
    check,
    drop,
    in_threads,
    order,
    post,
    rows,
    text_number,
)

pytestmark = pytest.mark.reliability

STORE, OUT, INBOX = "daemon.store:Store", "daemon.outputs", "daemon.inbox"
TONE = {"max_batch": 4, "delay_seconds": 0.005}
SAME = "killed there, started again: the same end as without"

#: Of a task of two segments: the step, and how many attempts stand in the ledger when the daemon is dead.
SPEAKING = {
    "before its row is committed": (f"before 1 {STORE}.submit", None),
    "after its row is committed": (f"after 1 {STORE}.submit", 0),
    "while it is being claimed": ("after 1 daemon.store.work:_claim_of", 0),
    "after it is claimed": ("before 1 daemon.worker.loop:Crew", 0),
    "before its text enters the engine": (f"before 1 {STORE}.enter", 0),
    "after it is noted that its text enters the engine": (f"after 1 {STORE}.enter", 1),
    "after its text is cut": ("after 1 daemon.host:Host.split", 1),
    "after its plan is in the ledger": (f"after 1 {STORE}.planned", 0),
    "after its plan is kept": ("after 1 daemon.spool:Shelf.keep_plan", 0),
    "after it is noted that its first segment enters the engine": (f"after 2 {STORE}.enter", 1),
    "after its first segment is spoken": ("after 1 daemon.host:Host.speak", 1),
    "after its first segment is kept": ("after 1 daemon.spool:Shelf.keep", 1),
    "after its first segment is counted": (f"after 1 {STORE}.advance", 0),
    "after its last segment is spoken": ("after 2 daemon.host:Host.speak", 1),
    "after its last segment is counted": (f"after 2 {STORE}.advance", 0),
    "after its draft is opened": (f"after 1 {OUT}:Draft.__init__", 0),
    "after its draft is written": ("after 1 daemon.audio:write", 0),
    "after its draft is on the disk": (f"after 1 {OUT}:Draft.seal", 0),
    "after its hash is in the ledger": (f"after 1 {STORE}.publishing", 0),
    "after it has its final name": (f"after 1 {OUT}:rename_new", 0),
    "after its folder is on the disk": (f"after 1 {OUT}:Draft.publish", 0),
    "before it is completed": (f"before 1 {STORE}.complete", 0),
    "after it is completed": (f"after 1 {STORE}.complete", 0),
    "after its shelf is cleared": ("after 1 daemon.spool:Shelf.clear", 0),
}
#: Of a batch of three files in company.
BATCHED = {
    "while several are in the engine": "before 1 daemon.host:Host.speak",
    "after the first of its files is completed": f"after 1 {STORE}.complete",
    "after the second file has its final name": f"after 2 {OUT}:rename_new",
    "before the last file is completed": f"before 3 {STORE}.complete",
}
#: Of a dropped file with two tasks.
DROPPING = {
    "before it is claimed": f"before 1 {INBOX}.claimed:Claimed.claim",
    "after it is claimed": f"after 1 {INBOX}.claimed:Claimed.claim",
    "after its claim is on the disk": f"after 1 {INBOX}.claimed:Claimed.keep",
    "after it is read": f"after 1 {INBOX}.reading:read_dropped",
    "before its tasks are committed": f"before 1 {STORE}.submit_drop",
    "after its tasks are committed": f"after 1 {STORE}.submit_drop",
    "after one of its tasks is completed": f"after 1 {STORE}.complete",
    "before its name in the archive is noted": f"before 1 {STORE}.keep_drop_as",
    "after its name in the archive is noted": f"after 1 {STORE}.keep_drop_as",
    "after its note is written": f"after 1 {INBOX}.archive:Archive.leave_note",
    "after it is moved": f"after 1 {INBOX}.archive:Archive.receive",
    "before it is noted as archived": f"before 1 {STORE}.archive_drop",
    "after it is noted as archived": f"after 1 {STORE}.archive_drop",
}
#: Of a dropped file that is no JSON.
REFUSING = {
    "after it is claimed": f"after 1 {INBOX}.claimed:Claimed.claim",
    "after it is marked as refused": f"after 1 {INBOX}.claimed:Claimed.marked",
    "after its note is written": f"after 1 {INBOX}.archive:Archive.leave_note",
    "after it is moved": f"after 1 {INBOX}.archive:Archive.receive",
}
#: Of a start that finds a task in work, and a half-written file.
RECOVERING = {
    "before anything is swept": f"before 1 {STORE}.orphans",
    "after the half-written file is swept": f"after 1 {OUT}:Outputs.sweep",
    "after the task is put back": f"after 1 {STORE}.recover",
    "after the spool is swept": "after 1 daemon.spool:Spool.sweep",
    "after the inbox is owned": f"after 1 {INBOX}:Inbox.open",
}
#: Of a first start.
FOUNDING = {
    "before a ledger is made": "before 1 daemon.store.database:_make",
    "before the new ledger has its name": "after 1 daemon.store.database:_migrate",
    "after the new ledger has its name": "after 1 daemon.store.database:_make",
}
#: Of what a client asks later.
ASKING = {
    "before its end is committed": f"before 1 {STORE}.cancel",
    "after its end is committed": f"after 1 {STORE}.cancel",
    "before its end is noted by the worker": f"before 1 {STORE}.end_cancelled",
    "after its end is noted by the worker": f"after 1 {STORE}.end_cancelled",
    "before its second life is committed": f"before 1 {STORE}.retry",
    "after its second life is committed": f"after 1 {STORE}.retry",
}
_ALL = (*(step for step, _ in SPEAKING.values()), *BATCHED.values(), *DROPPING.values(), *REFUSING.values())
_ALL += (*RECOVERING.values(), *FOUNDING.values(), *ASKING.values())
TARGETS = ",".join(sorted({step.split()[2] for step in _ALL}))


class Mortal:
    """A daemon that can be told at which step it dies, and what it was asked for in its lives."""

    def __init__(self, daemon: LiveDaemon) -> None:
        self.daemon = daemon
        self.accepted = Accepted()
        self._numbers = itertools.count()
        self._die_at = daemon.folder / DIE_AT
        self.well = False

    def number(self) -> int:
        return next(self._numbers)

    def order(self, **keys: object) -> Order:
        """A task of two segments that is spoken alone."""
        number = self.number()
        return order(number, **{"text": text_number(number), "infer_mode": MODES[0]} | keys)

    def spawn(self) -> None:
        self.daemon.spawn("tests.reliability.dying", TARGETS)

    def start(self) -> Mortal:
        self.spawn()
        until(self._is_ready, "the daemon", pause=0.05)
        return self

    def _is_ready(self) -> bool:
        assert self.daemon.ended_with() is None, self.daemon.log.read_text()[-3000:]
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.daemon.get("/ready").status == 200
        return False

    def die_at(self, step: str) -> None:
        """Let it be killed at this step, be it now or at its next start."""
        part = self._die_at.with_suffix(".part")
        part.write_text(step)
        part.rename(self._die_at)

    def is_dead(self) -> None:
        """Wait for its death, which was of the right kind, and let its next life be a normal one."""
        until(lambda: self.daemon.ended_with() is not None, "its death")
        assert self.daemon.ended_with() == -signal.SIGKILL
        self._die_at.unlink()

    def attempts(self) -> list[int]:
        """Those of all speeches, as they stand in the ledger."""
        return [count for (count,) in rows(self.daemon, "SELECT attempts FROM speeches ORDER BY id")]

    def drop(self, name: str, orders: list[Order]) -> None:
        drop(self.daemon, name, orders)
        self.accepted.dropped[name] = orders

    def insists(self, method: str, path: str) -> None:
        """Ask until there is an answer; 409 says that it was done before."""
        for _ in range(1000):
            with contextlib.suppress(OSError, http.client.HTTPException):
                assert self.daemon.ask(method, path).status in (200, 409)
                return
            time.sleep(0.05)

    def ends_well(self) -> None:
        """All it was ever asked for is there once, to the byte, and nothing else."""
        all_over(self.daemon)
        check(self.daemon, self.accepted)
        self.well = True


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Mortal]]:
    """The one that lives now: it dies in every test, and the next start recovers and is the next one's victim."""
    made: list[Mortal] = []
    yield made
    for mortal in made:
        mortal.daemon.close()


@pytest.fixture
def mortal(living: list[Mortal], tmp_path_factory: pytest.TempPathFactory) -> Mortal:
    if not living or not living[-1].well:
        daemon = LiveDaemon(tmp_path_factory.mktemp("mortal"), engine={"options": TONE})
        living.append(Mortal(daemon).start())
    living[-1].well = False
    return living[-1]


def posting(mortal: Mortal, asked: Order) -> threading.Thread:
    """A client that posts until it is answered."""

    def client() -> None:
        task_id = post(mortal.daemon, asked, key=f"order-{mortal.number()}")
        mortal.accepted.posted[task_id] = asked

    return in_threads(client)[0]


@pytest.mark.parametrize("step", SPEAKING)
def test_a_kill_of_a_posted_task(mortal: Mortal, step: str, tell: Callable[[str], None]) -> None:
    where, attempts = SPEAKING[step]
    before = len(mortal.attempts())
    mortal.die_at(where)
    client = posting(mortal, mortal.order())
    mortal.is_dead()
    assert mortal.attempts()[before:] == ([] if attempts is None else [attempts])
    mortal.start()
    client.join()
    mortal.ends_well()
    tell(SAME)


@pytest.mark.parametrize("step", BATCHED)
def test_a_kill_of_a_batch(mortal: Mortal, step: str, tell: Callable[[str], None]) -> None:
    before = len(mortal.attempts())
    mortal.die_at(BATCHED[step])
    number = mortal.number()
    client = posting(mortal, batch(number, infer_mode=MODES[1]))
    mortal.is_dead()
    assert mortal.attempts()[before:] == [0, 0, 0]  # nobody is charged in company
    mortal.start()
    client.join()
    mortal.ends_well()
    tell(SAME)


@pytest.mark.parametrize("step", DROPPING)
def test_a_kill_of_a_dropped_file(mortal: Mortal, step: str, tell: Callable[[str], None]) -> None:
    name, orders = f"drop-{mortal.number()}", [mortal.order(), mortal.order()]
    mortal.die_at(DROPPING[step])
    mortal.drop(name, orders)
    mortal.is_dead()
    mortal.start()
    mortal.ends_well()
    tell(SAME)


@pytest.mark.parametrize("step", REFUSING)
def test_a_kill_of_a_file_that_is_refused(mortal: Mortal, step: str, tell: Callable[[str], None]) -> None:
    name = f"refused-{mortal.number()}"
    mortal.die_at(REFUSING[step])
    mortal.drop(name, [])
    mortal.is_dead()
    mortal.start()
    mortal.ends_well()
    assert mortal.daemon.note(f"failed/{name}.json.error.json")["detail"].startswith("the array is empty")
    tell(SAME)


@pytest.mark.parametrize("step", RECOVERING)
def test_a_kill_of_a_start_that_recovers(mortal: Mortal, step: str, tell: Callable[[str], None]) -> None:
    mortal.die_at(f"after 1 {OUT}:Draft.seal")
    client = posting(mortal, mortal.order())
    mortal.is_dead()
    mortal.die_at(RECOVERING[step])
    mortal.spawn()
    mortal.is_dead()
    mortal.start()
    client.join()
    mortal.ends_well()
    tell(SAME)


@pytest.mark.parametrize("step", FOUNDING)
def test_a_kill_of_a_first_start(
    make_daemon: Callable[..., LiveDaemon], step: str, tell: Callable[[str], None]
) -> None:
    mortal = Mortal(make_daemon())
    mortal.die_at(FOUNDING[step])
    mortal.spawn()
    mortal.is_dead()
    mortal.start()
    posting(mortal, mortal.order()).join()
    mortal.ends_well()
    tell(SAME)


@pytest.mark.parametrize("step", ASKING)
def test_a_kill_while_a_task_is_cancelled_or_retried(mortal: Mortal, step: str, tell: Callable[[str], None]) -> None:
    asked = mortal.order(text=" ".join("A." for _ in range(120)))  # it is spoken long enough to be cancelled
    posting(mortal, asked).join()
    task_id = next(reversed(mortal.accepted.posted))
    mortal.daemon.reaches(task_id, "processing")
    if "retry" not in ASKING[step]:
        mortal.die_at(ASKING[step])
    (client,) = in_threads(lambda: mortal.insists("DELETE", f"/api/tts/tasks/{task_id}"))
    if "retry" not in ASKING[step]:
        mortal.is_dead()
        mortal.start()
    client.join()
    view = mortal.daemon.ended(task_id)
    assert (view["status"], view["error"]) == ("failed", "cancelled")
    assert task_id not in {file.stem for file in mortal.daemon.outputs.rglob("*")}
    if "retry" in ASKING[step]:
        mortal.die_at(ASKING[step])
    (client,) = in_threads(lambda: mortal.insists("POST", f"/api/tts/tasks/{task_id}/retry"))
    if "retry" in ASKING[step]:
        mortal.is_dead()
        mortal.start()
    client.join()
    mortal.ends_well()
    tell(SAME)
