from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.candidates.popularity import PERIOD_MS, Popularity
from rag_rec.events.history import HISTORY_DTYPE, History

rows = st.lists(st.tuples(st.integers(0, 4), st.integers(-40, 700)), max_size=12)  # item, period


def history_of(choices: list[tuple[int, int]]) -> History:
    history = np.zeros(len(choices), dtype=HISTORY_DTYPE)
    history["item"] = [item for item, _ in choices]
    history["time"] = [period * PERIOD_MS + 5 for _, period in choices]
    return history


@given(st.lists(rows, max_size=5), rows)
def test_counts_are_exact_and_what_leaves_leaves_no_trace(
    kept: list[list[tuple[int, int]]], gone: list[tuple[int, int]]
) -> None:
    popularity, expected = Popularity(5), Popularity(5)
    popularity.change(history_of(gone), 1)
    for choices in kept:
        popularity.change(history_of(choices), 1)
        expected.change(history_of(choices), 1)
    popularity.change(history_of(gone), -1)
    flat = [choice for choices in kept for choice in choices]
    assert popularity.total.tolist() == [sum(item == each for each, _ in flat) for item in range(5)]
    assert [axis.tolist() for axis in popularity.entries()] == [axis.tolist() for axis in expected.entries()]
    assert popularity.counted == popularity.total.sum() == popularity.entries()[2].sum()
    assert popularity.latest() == max((period for _, period in flat), default=0) * PERIOD_MS
    for now in (-41, 0, 3, 350, 701):
        slow = [sum(item == each and now - 2 < period <= now for each, period in flat) for item in range(5)]
        assert popularity.recent(now * PERIOD_MS, 2).tolist() == slow
        first = [min((period for each, period in flat if each == item), default=now) for item in range(5)]
        assert popularity.age(now * PERIOD_MS, np.arange(5)).tolist() == [max(0, now - born) for born in first]


def test_growing_adds_items_without_interactions() -> None:
    popularity = Popularity(2)
    popularity.change(history_of([(1, 30)]), 1)
    popularity.grow(500)
    popularity.change(history_of([(499, 31), (499, 29)]), 1)
    assert popularity.total.tolist() == [0, 1, *[0] * 497, 2]
    assert popularity.recent(31 * PERIOD_MS, 2, np.array([1, 499])).tolist() == [1, 1]
    assert popularity.recent(None, 1, np.array([1, 499])).tolist() == [0, 1]  # the latest period
