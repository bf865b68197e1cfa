"""Whatever is done to the ledger, and in whatever order, it keeps what the model of its promises keeps."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.exc import IntegrityError

from daemon.errors import Conflict, NotFound
from daemon.store import ClaimLost, Gain, Store, accepting, reading, work
from daemon.tasks import OVER, STATUS_OF, TRANSITIONS, State
from tests.live import new_task
from tests.store_model import COLUMNS, UNFINISHED, Drop, Model

pytestmark = pytest.mark.reliability

HOUR = 3600
TASKS = "SELECT id, state, cancel_requested, started_at IS NOT NULL, finished_at FROM tasks ORDER BY id"
TABLES = ("tasks", "speeches", "texts", "drops", "drop_tasks")
KEYS = ("idempotency_key", "body_hash")


@some.composite
def requests(draw):
    """A task or a batch as the counter hands it to the ledger."""
    priority, mode = draw(some.sampled_from([5, 0, 9])), draw(some.sampled_from(["普通推理", "批次推理"]))
    keyed = draw(some.sampled_from([(None, None)] * 3 + [("k", "1"), ("k", "2"), ("l", "1")]))
    values = {"priority": priority, "infer_mode": mode, **dict(zip(KEYS, keyed, strict=True))}
    names = draw(some.sampled_from([(), (), ("a.wav",), ("a.wav", "b.wav"), ("c.wav", "d.wav", "e.wav")]))
    if not names:
        return new_task("A text.", **values)
    return new_task(speeches={name: f"Text of {name}." for name in names}, overwrite=draw(some.booleans()), **values)


#: Which of those there are, if there are any.
WHICH = some.integers(0, 99)

#: What a worker may do with a speech that was claimed once.
CHANGES = {
    "complete": lambda store, claim: store.complete(claim, 1.0),
    "fail": lambda store, claim: store.fail(claim, "late"),
    "end cancelled": lambda store, claim: store.end_cancelled(claim),
    "give back": lambda store, claim: store.give_back(claim),
    "plan": lambda store, claim: store.planned(claim, 3, 0, survived=True),
    "enter": lambda store, claim: store.enter(claim),
    "advance": lambda store, claim: store.advance(Gain(claim, 1, 1.0, 1.0)),
    "publish": lambda store, claim: store.publishing(claim, "digest"),
}


class Ledger(RuleBasedStateMachine):
    """One ledger on a disk, its model, and a worker that holds claims."""

    empty: Path
    done = Counter()

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.file = Path(shutil.copy(self.empty, self.folder / "indexttsd.db"))
        self.now = 1_700_000_000.0
        for module in (accepting, reading, work):
            module.time = SimpleNamespace(time=self.clock)
        self.model = Model()
        self.hand = {}
        self.old_claims = []
        self.tokens = {}
        self.states = {}
        self.store = Store(self.file)
        self.done["ledgers"] += 1

    def clock(self):
        """The wall clock, which goes on by itself a little and jumps when it is told to."""
        self.now += 0.25
        return self.now

    def teardown(self):
        self.store.close()
        for module in (accepting, reading, work):
            module.time = time
        shutil.rmtree(self.folder)

    # The doors

    @initialize(new=some.lists(requests(), min_size=1, max_size=5))
    def submit_some(self, new):
        self.submit(new, None)

    @rule(
        new=some.lists(requests(), min_size=1, max_size=3),
        limit=some.sampled_from([None, None, 4]),
        hours=some.integers(-3, 1),
    )
    def submit(self, new, limit, hours=0):
        self.now += hours * HOUR  # what comes later may seem to have come earlier
        answer = self.model.answer(new, limit)
        self.taken_or_refused(answer, lambda: self.store.submit(new, limit))

    @rule(new=some.lists(requests(), min_size=1, max_size=3))
    def submit_drop(self, new):
        answer = self.model.answer(new, None)
        uid = f"{self.done['drops']:08}"
        self.done["drops"] += 1
        if self.taken_or_refused(answer, lambda: self.store.submit_drop(uid, "x.json", new)):
            self.model.drops[uid] = Drop(answer)
        assert self.store.knows_drop(uid) == (uid in self.model.drops)

    def taken_or_refused(self, answer, submit):
        if isinstance(answer, type):
            self.changes_nothing(answer, submit)
            return False
        self.model.accept(answer, [receipt.task_id for receipt in submit()])
        return True

    @precondition(lambda self: self.model.drops)
    @rule(which=WHICH)
    def submit_a_drop_again(self, which):
        uid = pick(list(self.model.drops), which)
        self.changes_nothing(IntegrityError, lambda: self.store.submit_drop(uid, "x.json", [new_task()]))

    @precondition(lambda self: self.model.tasks)
    @rule(which=WHICH)
    def cancel(self, which):
        self.cancel_task(pick(self.model.tasks, which))

    def cancel_task(self, task):
        if task.over:
            self.changes_nothing(Conflict, lambda: self.store.cancel(task.task_id))
            return
        self.store.cancel(task.task_id)
        task.cancel()
        wanted = {speech_id for speech_id, (claim, _) in self.hand.items() if claim.task == task.n + 1}
        assert self.store.cancel_requested(*(claim for claim, _ in self.hand.values())) >= wanted

    @precondition(lambda self: self.model.tasks)
    @rule(which=WHICH)
    def retry(self, which):
        task = pick(self.model.tasks, which)
        if not self.model.may_be_retried(task):
            self.changes_nothing(Conflict, lambda: self.store.retry(task.task_id))
            return
        self.store.retry(task.task_id)
        task.retry()

    # The worker

    @rule(count=some.integers(1, 3))
    def claim(self, count):
        for _ in range(count):
            self.is_claimed(self.store.claim, self.model.next())

    @rule(priority=some.sampled_from([5, 0, 9]))
    def claim_mate(self, priority):
        self.is_claimed(lambda: self.store.claim_mate(priority), self.model.mate(priority))

    def is_claimed(self, take, speech):
        claim = take()
        if speech is None:
            assert claim is None
            return
        assert (claim.task_id, claim.file_name) == (speech.task.task_id, speech.name)
        assert (claim.text, claim.attempts, claim.in_company) == (speech.text, speech.attempts, speech.in_company)
        assert (claim.digest, claim.seed, claim.priority) == (speech.digest, 7, speech.task.new.priority)
        key = (claim.task, claim.speech)
        assert claim.token > self.tokens.get(key, 0), "an old claim would fit the new one"
        self.tokens[key] = claim.token
        speech.state = speech.task.state = State.PROCESSING
        speech.task.started = True
        self.hand[claim.speech] = claim, speech
        self.done["claims"] += 1

    @rule(count=some.integers(1, 4), ends=some.sampled_from(["complete", "fail"]))
    def work_off(self, count, ends):
        """What a worker does all day."""
        for _ in range(count):
            self.claim(1)
            self.rows_are_as_in_the_model()
            if self.hand:
                self.enter([-1])
                getattr(self, ends)(-1)
                self.rows_are_as_in_the_model()

    @rule(finishes=some.booleans(), cancelled=some.booleans())
    def die_at_work(self, finishes, cancelled):
        """In the midst of a file, or between two; somebody may just have cancelled it."""
        self.claim(1)
        self.rows_are_as_in_the_model()
        if self.hand and cancelled:
            self.cancel_task(self.held(-1)[1].task)
            self.rows_are_as_in_the_model()
        if self.hand and finishes:
            self.complete(-1)
            self.rows_are_as_in_the_model()
        self.crash()

    in_hand = precondition(lambda self: self.hand)

    def held(self, which, *, let_go=False):
        speech_id = pick(list(self.hand), which)
        claim, speech = self.hand.pop(speech_id) if let_go else self.hand[speech_id]
        if let_go:
            self.old_claims.append(claim)
        return claim, speech

    @in_hand
    @rule(which=WHICH, total=some.integers(1, 9), survived=some.booleans())
    def plan(self, which, total, survived):
        claim, speech = self.held(which)
        self.store.planned(claim, total, speech.segments_done, survived=survived)
        speech.segments_total = total
        speech.attempts = 0 if survived else speech.attempts

    @in_hand
    @rule(which=some.lists(WHICH, min_size=1, max_size=3))
    def enter(self, which):
        crew = list({claim.speech: (claim, speech) for claim, speech in map(self.held, which)}.values())
        self.store.enter(*(claim for claim, _ in crew))
        for _, speech in crew:
            speech.attempts += len(crew) == 1
            speech.in_company |= len(crew) > 1

    @in_hand
    @rule(which=some.lists(WHICH, min_size=1, max_size=3))
    def enter_and_leave(self, which):
        """The daemon itself ends the call; in company are only those nobody suspects."""
        crew = {claim.speech: claim for claim, speech in map(self.held, which) if not speech.in_company}
        self.store.enter(*crew.values())
        self.store.leave(*crew.values())

    @in_hand
    @rule(which=some.lists(WHICH, min_size=1, max_size=3), segments=some.integers(0, 2))
    def advance(self, which, segments):
        crew = list({claim.speech: (claim, speech) for claim, speech in map(self.held, which)}.values())
        self.store.advance(*(Gain(claim, segments, 1.0, 1.0) for claim, _ in crew))
        for _, speech in crew:
            speech.attempts, speech.in_company = 0, False
            speech.segments_done += segments

    @in_hand
    @rule(which=WHICH)
    def publish(self, which):
        claim, speech = self.held(which)
        speech.digest = f"digest of {claim.token}"
        self.store.publishing(claim, speech.digest)

    @in_hand
    @rule(which=WHICH)
    def complete(self, which):
        claim, speech = self.held(which, let_go=True)
        self.store.complete(claim, 1.0)
        speech.end(State.COMPLETED)

    @in_hand
    @rule(which=WHICH)
    def fail(self, which):
        claim, speech = self.held(which, let_go=True)
        self.store.fail(claim, "no voice")
        speech.end(State.FAILED, "no voice")

    @in_hand
    @rule(which=WHICH, suspicion=some.sampled_from([{}, {"attempts": 2}, {"in_company": True}]))
    def give_back(self, which, suspicion):
        claim, speech = self.held(which, let_go=True)
        self.store.give_back(claim, "the engine died", **suspicion)
        vars(speech).update(suspicion)
        speech.back()

    @precondition(lambda self: any(speech.task.cancel_requested for _, speech in self.hand.values()))
    @rule()
    def end_cancelled(self):
        which = next(at for at, (_, speech) in enumerate(self.hand.values()) if speech.task.cancel_requested)
        claim, speech = self.held(which, let_go=True)
        self.store.end_cancelled(claim)
        speech.end(State.CANCELLED, "cancelled")

    @precondition(lambda self: self.old_claims)
    @rule(which=WHICH, change=some.sampled_from(sorted(CHANGES)))
    def come_too_late(self, which, change):
        late = pick(self.old_claims, which)
        self.changes_nothing(ClaimLost, lambda: CHANGES[change](self.store, late))
        self.done["late"] += 1

    @precondition(lambda self: self.old_claims and self.hand)
    @rule(which=WHICH)
    def enter_with_one_that_was_lost(self, which):
        claims = self.held(which)[0], pick(self.old_claims, which)
        self.changes_nothing(ClaimLost, lambda: self.store.enter(*claims))

    # What happens to the daemon

    @rule(how=some.sampled_from(["crash", "restart"]))
    def the_daemon_ends(self, how):
        getattr(self, how)()

    def crash(self):
        """What lies on the disk at this moment, the log not yet played in, is all that the next daemon has."""
        image = Path(tempfile.mkdtemp())
        shutil.copytree(self.folder, image, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*-shm"))
        self.store.close()
        shutil.rmtree(self.folder)
        self.folder, self.file = image, image / self.file.name
        self.start()
        self.done["crashes"] += 1

    def restart(self):
        while self.hand:
            self.give_back(0, {})
        self.store.close()
        self.start()
        self.done["restarts"] += 1

    def start(self):
        self.store = Store(self.file)
        found = self.store.orphans()
        assert {orphan.speech for orphan in found} == set(self.hand)
        assert all(orphan.token == self.hand[orphan.speech][0].token for orphan in found)
        self.store.recover()
        while self.hand:
            _, speech = self.held(0, let_go=True)
            speech.back()
        for task in self.model.of(State.PROCESSING):  # a batch between two files
            task.state = State.PENDING

    @rule(hours=some.integers(-9, 9))
    def the_clock_jumps(self, hours):
        self.now += hours * HOUR

    @rule(hours=some.integers(-9, 9))
    def prune(self, hours):
        before = self.now + hours * HOUR
        gone = self.model.prune(before)
        assert sum(iter(lambda: self.store.prune(before), 0)) == len(gone)
        for task in gone:
            assert task.over
            with pytest.raises(NotFound):
                self.store.task(task.task_id)
        self.done["forgotten"] += len(gone)

    @precondition(lambda self: any(drop.ended for drop in self.model.drops.values()))
    @rule(which=WHICH)
    def put_away_a_drop(self, which):
        uid = pick([uid for uid, drop in self.model.drops.items() if drop.ended], which)
        self.store.keep_drop_as(uid, "done/x.json")
        assert next(drop.kept_as for drop in self.store.ended_drops() if drop.uid == uid) == "done/x.json"
        self.store.archive_drop(uid)
        self.model.drops[uid].archived = True

    # What always holds

    def changes_nothing(self, error, change):
        before = self.rows()
        with pytest.raises(error):
            change()
        assert self.rows() == before

    def rows(self):
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES}

    @invariant()
    def rows_are_as_in_the_model(self):
        self.done["steps"] += 1
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            tasks = connection.execute(TASKS).fetchall()
            speeches = connection.execute(f"SELECT {COLUMNS} FROM speeches ORDER BY task, position").fetchall()
        assert [row[0] for row in tasks] == [task.n + 1 for task in self.model.tasks]
        for task, row in zip(self.model.tasks, tasks, strict=True):
            assert row[1:4] == (task.state, task.cancel_requested, task.started)
            task.finished_at = task.finished_at or row[4]
            assert row[4] == (task.finished_at if task.over else None), "a task ends once"
        assert speeches == [speech.facts for speech in self.model.speeches()]
        self.somebody_works_on_what_is_in_work(speeches)
        self.states_follow_the_table({row[0]: State(row[1]) for row in tasks})
        if not self.done["steps"] % 8:  # to ask for all takes longer than a step
            self.questions_are_answered_as_by_the_model()

    def somebody_works_on_what_is_in_work(self, speeches):
        in_hand = {(claim.task, speech.position) for claim, speech in self.hand.values()}
        assert {row[:2] for row in speeches if row[2] == State.PROCESSING} == in_hand
        between = [task for task in self.model.of(State.PROCESSING) if task.n + 1 not in {row for row, _ in in_hand}]
        assert all(any(speech.state in OVER for speech in task.speeches) for task in between), "between two files"

    def states_follow_the_table(self, states):
        for row, state in states.items():
            before = self.states.get(row, State.PENDING)
            assert state is before or state in TRANSITIONS[before], f"{before} -> {state}"
        self.states = states

    def questions_are_answered_as_by_the_model(self):
        counts = dict.fromkeys(STATUS_OF.values(), 0) | Counter(STATUS_OF[task.state] for task in self.model.tasks)
        assert self.store.stats()[0] == counts
        assert len(self.store.unfinished()) == len(list(self.model.speeches(*UNFINISHED)))
        assert self.store.waits() == any(self.model.speeches(State.PENDING))
        shown = self.store.tasks(None, 1000, None)[::-1]
        assert [task.task_id for task in shown] == [task.task_id for task in self.model.tasks]
        for task, found in zip(self.model.tasks, shown, strict=True):
            assert found.completed_files == sum(speech.state is State.COMPLETED for speech in task.speeches)
            ends = [(speech.name, speech.error) for speech in task.speeches if speech.error and task.new.batch]
            assert list(found.failures) == ends
        ended = {uid for uid, drop in self.model.drops.items() if drop.ended}
        assert {drop.uid for drop in self.store.ended_drops()} == ended
        for uid, drop in self.model.drops.items():
            assert [task.task_id for task in self.store.tasks_of_drop(uid)] == [task.task_id for task in drop.tasks]


def pick(items, which):
    return items[which % len(items)]


def test_the_ledger_keeps_its_promises_whatever_is_done_to_it(empty_ledger, scale, tell):
    machine = type("Machine", (Ledger,), {"empty": empty_ledger, "done": Counter()})
    bounded = settings(
        max_examples=40 * scale,
        stateful_step_count=40,
        derandomize=True,
        phases=[Phase.generate],  # to make a failing example small takes longer than all of this
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=bounded)
    done = machine.done
    tell(
        f"{done['ledgers']} ledgers, {done['steps']} steps: {done['crashes']} crashes, {done['restarts']} restarts, "
        f"{done['claims']} claims, {done['late']} late finishes, {done['forgotten']} tasks forgotten, 0 promises broken"
    )
