from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.candidates.lagged_pairs import LAG_UNIT, WINDOW, concatenate, lagged_pairs
from rag_rec.events.history import HISTORY_DTYPE, History

Pair = tuple[int, int, int]


def history_of(items: list[int]) -> History:
    history = np.zeros(len(items), dtype=HISTORY_DTYPE)
    history["item"] = items
    return history


def slow_pairs(sequences: list[list[int]]) -> list[Pair]:
    return sorted(
        (later - earlier, items[earlier], items[later])
        for items in sequences
        for earlier in range(len(items))
        for later in range(earlier + 1, len(items))
        if later - earlier <= WINDOW
    )


def fast_pairs(sequences: list[list[int]], context: int = 0) -> list[Pair]:
    rows, owners = concatenate([history_of(items) for items in sequences])
    batches = lagged_pairs(rows, owners, context)
    return sorted(
        (batch.lag, first, second)
        for batch in batches
        for first, second in zip(batch.first.tolist(), batch.second.tolist(), strict=True)
    )


@given(st.lists(st.lists(st.integers(0, 30), unique=True, max_size=25), max_size=6))
def test_pairs_are_those_of_a_plain_loop(sequences: list[list[int]]) -> None:
    assert fast_pairs(sequences) == slow_pairs(sequences)


@given(st.lists(st.integers(0, 30), unique=True, max_size=25), st.integers(0, 25))
def test_context_leaves_out_what_ends_in_it(items: list[int], context: int) -> None:
    context = min(context, len(items))
    ending_later = [pair for pair in slow_pairs([items]) if items.index(pair[2]) >= context]
    assert fast_pairs([items], context) == ending_later


def test_every_lag_divides_the_unit() -> None:
    assert all(LAG_UNIT % lag == 0 for lag in range(1, WINDOW + 1))
