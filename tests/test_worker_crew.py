"""Batches over tasks and voices: who shares the engine's calls, and who need not suffer for it."""

from __future__ import annotations

import itertools
import logging

import pytest

from daemon.tasks import BATCH_MODE, State
from tests.workshop import VOICES, make_host, rows, samples


@pytest.fixture
def calls(caplog):
    """How many segments and speeches each call of the engine had so far, and its seconds."""
    caplog.set_level(logging.DEBUG, "indexttsd.worker")
    return lambda: [record.args for record in caplog.records if getattr(record, "action", "") == "engine_call"]


@pytest.fixture
def done(caplog):
    """The tasks whose file came so far, in order."""
    caplog.set_level(logging.DEBUG, "indexttsd.worker")
    return lambda: [record.args[0] for record in caplog.records if getattr(record, "action", "") == "speech_done"]


@pytest.fixture
def make_shop(make_workshop, tmp_path):
    """Makes workshops whose engine speaks `max_batch` segments at once."""
    return lambda max_batch=8, **options: make_workshop(make_host(tmp_path, max_batch=max_batch, **options))


@pytest.fixture
def at_call(caplog):
    """Does something as soon as the engine comes back from its call number `n`, before the next."""
    caplog.set_level(logging.DEBUG, "indexttsd.worker")
    hooks = []

    def do(n, action):
        hook = Hook(n, action)
        logging.getLogger("indexttsd.worker").addHandler(hook)
        hooks.append(hook)

    yield do
    for hook in hooks:
        logging.getLogger("indexttsd.worker").removeHandler(hook)


class Hook(logging.Handler):
    """Listens for the log's line about a call."""

    def __init__(self, n, action):
        super().__init__()
        self.left, self.action = n, action

    def emit(self, record):
        self.left -= getattr(record, "action", "") == "engine_call"
        if not self.left:
            self.left, action = -1, self.action
            action()


def add_batched(shop, *texts, **values):
    return shop.add(*texts, infer_mode=BATCH_MODE, **values)


# Together


def test_tasks_of_many_voices_share_calls_and_sound_as_they_do_alone(make_shop, calls):
    def add(shop):
        voices = itertools.cycle(VOICES)
        return [
            *itertools.chain.from_iterable(
                add_batched(shop, f"{'A' * n}. {'B' * (12 - n)}.", prompt=next(voices), seed=n) for n in range(12)
            )
        ]

    def spoken(shop, ids):
        shop.work_off()
        return [samples(shop.view(task_id)["output_file"]) for task_id in ids]

    company = make_shop(max_batch=8)
    together = spoken(company, add(company))
    assert [(rows, took > 0) for rows, _, took in calls()] == [(8, True)] * 3, "24 segments in 3 calls"
    alone = make_shop(max_batch=1)
    assert spoken(alone, add(alone)) == together
    assert len(set(together)) == 12


def test_a_plain_task_has_its_calls_to_itself(make_shop, calls, done):
    shop = make_shop(plain_batch=2)
    plain = shop.add("One. Two. Three.", "Four.")
    batched = add_batched(shop, "Five.", "Six.")
    shop.work_off()
    assert [call[:2] for call in calls()] == [(2, 1), (1, 1), (1, 1), (2, 2)]
    assert done() == plain + batched


def test_a_long_text_and_short_ones_go_on_together(make_shop, calls, done):
    shop = make_shop(max_batch=8)
    [long] = add_batched(shop, "A. " * 1000)
    short = add_batched(shop, *(f"{'B' * 20}." for _ in range(40)))
    shop.work_off()
    assert done() == [*short, long]
    full = [speeches for rows, speeches, _ in calls() if rows == 8]
    assert len(full) >= len(calls()) - 1, "no call but the last goes half empty"
    assert max(full) > 1


def test_as_many_are_in_work_as_a_few_calls_need(make_shop, ledger_file):
    """What waits can be cancelled at once, and overtaken."""
    shop = make_shop(max_batch=2, crash_on="One")
    add_batched(shop, *["One. Two."] * 12)
    shop.worker.step()
    assert rows(ledger_file, "SELECT COUNT(*) FROM speeches WHERE token > 0") == [(4,)]


def test_the_engines_time_is_shared_by_audio(make_shop, calls):
    shop = make_shop(delay_seconds=0.05)
    short, long = add_batched(shop, "A" * 10, "A" * 30)
    shop.work_off()
    [(_, _, took)] = calls()
    times = [shop.store.task(task_id).process_time for task_id in (short, long)]
    assert times == [pytest.approx(took / 4), pytest.approx(took * 3 / 4)]


# In turn


def test_somebody_more_urgent_waits_for_one_file_and_not_for_a_crew(make_shop, at_call, done):
    shop = make_shop()
    lead, *mates = add_batched(shop, *["One." * 20] * 3)
    urgent = []
    at_call(3, lambda: urgent.extend(shop.add("Hurry.", priority=9)))
    shop.worker.step()
    assert done() == [lead]
    tasks = [shop.store.task(task_id) for task_id in mates]
    assert [(task.state, task.segments_done) for task in tasks] == [(State.PENDING, 8)] * 2
    shop.work_off()
    assert done() == [lead, *urgent, *mates]


def test_plain_tasks_of_the_same_priority_are_not_starved(make_shop, done):
    shop = make_shop(max_batch=2)
    add_batched(shop, "A.")
    [plain] = shop.add("Plain.")
    add_batched(shop, *["B."] * 40)
    shop.worker.step()
    assert 2 < len(done()) <= 17, "a window of 8 calls' worth, and the lead"
    shop.worker.step()
    assert done()[-1] == plain


def test_long_texts_that_came_later_do_not_keep_a_plain_task_waiting(make_shop, done, calls):
    shop = make_shop(max_batch=2)
    [lead] = add_batched(shop, "A.")
    [plain] = shop.add("Plain.")
    long = add_batched(shop, *["B." * 40] * 3)
    shop.worker.step()
    assert (done(), len(calls())) == ([lead], 33), "32 calls after the lead's"
    shop.worker.step()
    assert done() == [lead, plain]
    shop.work_off()
    assert sorted(done()) == sorted([lead, plain, *long])
    assert sum(segments for segments, _, _ in calls()) == 2 + 120, "nothing was spoken twice"


def test_another_priority_is_not_mixed_in(make_shop, done):
    shop = make_shop()
    low = add_batched(shop, "A.", "B.", priority=1)
    high = add_batched(shop, "C.", "D.", priority=2)
    shop.worker.step()
    assert done() == high
    shop.worker.step()
    assert done() == high + low


# Ending early


def test_a_cancel_ends_one_of_a_crew_at_the_next_call(make_shop, at_call):
    shop = make_shop()
    *good, bad = add_batched(shop, *["One." * 20] * 3)
    at_call(3, lambda: shop.store.cancel(bad))
    shop.work_off()
    shown = shop.view(bad)
    assert (shown["error"], shown["segments_done"]) == ("cancelled", 8)
    assert shop.files() == sorted(f"{task_id}.wav" for task_id in good)


def test_a_claim_that_is_lost_costs_its_crew_nothing(make_shop, at_call, ledger_file, caplog):
    shop = make_shop()
    first, lost, last = add_batched(shop, "One.", "Two.", "Three.")
    at_call(1, lambda: rows(ledger_file, "UPDATE speeches SET token = 9 WHERE id = 2"))
    shop.work_off()
    assert caplog.text.count(f"{lost}.wav is no longer in this worker's hands") == 1
    states = [shop.store.task(task_id).state for task_id in (first, lost, last)]
    assert states == [State.COMPLETED, State.PROCESSING, State.COMPLETED]


def test_a_stop_gives_all_of_a_crew_back_as_if_nothing_had_been(make_shop, make_workshop, at_call):
    shop = make_shop()
    ids = add_batched(shop, *["One." * 20] * 3)
    at_call(2, shop.worker.stop)
    shop.worker.step()
    tasks = [shop.store.task(task_id) for task_id in ids]
    assert [(task.state, task.attempts, task.segments_done) for task in tasks] == [
        (State.PENDING, 0, 8),
        (State.PENDING, 0, 8),
        (State.PENDING, 0, 0),
    ]
    claims = list(iter(shop.store.claim, None))
    assert [claimed.suspect for claimed in claims] == [False] * 3
    for claimed in claims:
        shop.store.give_back(claimed)
    make_workshop().work_off()
    assert {shop.store.task(task_id).state for task_id in ids} == {State.COMPLETED}
