"""Who shares a call: chosen by age, then equal options, then size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from daemon.worker.picking import Row, pick

a_row = some.builds(
    Row,
    speech=some.integers(0, 9),
    index=some.integers(0, 50),
    size=some.integers(0, 120),
    options=some.sampled_from([{}, {"top_p": 0.8}, {"top_p": 0.9}]),
)
some_rows = some.lists(a_row, min_size=1, max_size=40, unique_by=lambda row: (row.speech, row.index))


@given(waiting=some_rows, limit=some.integers(1, 16))
def test_a_call_is_full_or_holds_all_and_has_the_longest_waiting_and_none_twice(waiting, limit):
    picked = pick(waiting, limit)
    names = {(row.speech, row.index) for row in picked}
    assert picked[0] is waiting[0]
    assert len(picked) == len(names) == min(limit, len(waiting))
    assert names <= {(row.speech, row.index) for row in waiting}


@given(waiting=some_rows, limit=some.integers(1, 16))
def test_nobody_is_left_out_for_one_that_fits_less(waiting, limit):
    picked = pick(waiting, limit)

    def misfit(row):
        return row.options != waiting[0].options, abs(row.size - waiting[0].size)

    left = [row for row in waiting if row not in picked]
    worst = max(map(misfit, picked))
    assert all(misfit(row) >= worst for row in left)


def test_equal_options_count_more_than_equal_size():
    plain, like, far = Row(1, 0, 10, {}), Row(2, 0, 10, {"top_p": 0.9}), Row(3, 0, 100, {})
    assert pick([plain, like, far], 2) == [plain, far]


def test_those_that_fit_as_well_go_in_the_order_of_their_age():
    rows = [Row(1, index, 10, {}) for index in range(9)]
    assert pick(rows, 4) == rows[:4]
