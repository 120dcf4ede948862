from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.evidence import Diversity, Memory
from rag_rec.evidence import diversity as module
from rag_rec.evidence.diversity import coverage, upper_bound
from tests.rag_rec.evidence.memories import NO_CANDIDATES, Row, memory_of, random_memory, rows

DIVERSITY = Diversity()


def covered(memory: Memory, chosen: tuple[int, ...]) -> float:
    """Coverage by its definition."""
    value = 0.0
    for client in range(len(memory)):
        nearest = [float(memory.vectors[client].astype(float) @ memory.vectors[row].astype(float)) for row in chosen]
        value += memory.weights[client] * max([0.0, *nearest])
    return value


def optimum(memory: Memory, budget: int) -> float:
    """The best coverage of all sets of rows within the budget."""
    sets = (
        chosen
        for size in range(len(memory) + 1)
        for chosen in itertools.combinations(range(len(memory)), size)
        if memory.tokens[list(chosen)].sum() <= budget
    )
    similarity = np.maximum(memory.vectors.astype(float) @ memory.vectors.T.astype(float), 0.0)
    return max(
        (float(memory.weights @ similarity[:, list(chosen)].max(axis=1, initial=0.0)) for chosen in sets), default=0.0
    )


def slow_greedy_plus_max(memory: Memory, budget: int) -> list[int]:
    """Greedy+Max with every gain computed from scratch."""
    chosen: list[int] = []
    met: list[list[int]] = [[]]
    while True:
        spent = memory.tokens[chosen].sum()
        fitting = [r for r in range(len(memory)) if r not in chosen and spent + memory.tokens[r] <= budget]
        if not fitting:
            break
        value = covered(memory, tuple(chosen))
        gains = {row: covered(memory, (*chosen, row)) - value for row in fitting}
        met.append([*chosen, max(fitting, key=lambda row: gains[row])])
        chosen = [*chosen, max(fitting, key=lambda row: gains[row] / memory.tokens[row])]
        met.append(chosen)
    return sorted(max(met, key=lambda rows: covered(memory, tuple(rows))))


small = st.lists(rows, max_size=8)


@settings(deadline=None)
@given(history=small, budget=st.integers(0, 40))
def test_coverage_is_at_least_half_of_the_optimum_and_bounded_by_the_upper_bound(
    history: list[Row], budget: int
) -> None:
    memory = memory_of(history)
    chosen = DIVERSITY.select(memory, NO_CANDIDATES, budget)
    best = optimum(memory, budget)
    assert coverage(memory, chosen) >= 0.5 * best - 1e-5
    assert upper_bound(memory, chosen, budget) >= best - 1e-5


@settings(deadline=None)
@given(history=small, budget=st.integers(0, 40), data=st.data())
def test_the_upper_bound_holds_from_any_choice(history: list[Row], budget: int, data: st.DataObject) -> None:
    memory = memory_of(history)
    some = data.draw(st.sets(st.integers(0, max(0, len(memory) - 1)), max_size=len(memory)))
    chosen = np.array(sorted(some), dtype=np.int64)
    assert upper_bound(memory, chosen, budget) >= optimum(memory, budget) - 1e-5


@pytest.mark.parametrize("seed", range(12))
def test_it_equals_greedy_plus_max_from_scratch(seed: int) -> None:
    memory = random_memory(18, seed)
    chosen = DIVERSITY.select(memory, NO_CANDIDATES, 30)
    assert chosen.tolist() == slow_greedy_plus_max(memory, 30)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_close_to_the_optimum_on_ordinary_histories(seed: int) -> None:
    memory = random_memory(12, seed)
    assert coverage(memory, DIVERSITY.select(memory, NO_CANDIDATES, 25)) >= 0.95 * optimum(memory, 25)


@given(history=st.lists(rows, min_size=1, max_size=10), data=st.data())
def test_coverage_is_monotone_and_submodular(history: list[Row], data: st.DataObject) -> None:
    memory = memory_of(history)
    row = st.integers(0, len(memory) - 1)
    small_set = data.draw(st.sets(row, max_size=4))
    large_set = small_set | data.draw(st.sets(row, max_size=4))
    extra = data.draw(row)

    def value(chosen: set[int]) -> float:
        return coverage(memory, np.array(sorted(chosen), dtype=np.int64))

    assert value(large_set) >= value(small_set) - 1e-6
    gain_small = value(small_set | {extra}) - value(small_set)
    gain_large = value(large_set | {extra}) - value(large_set)
    assert gain_small >= gain_large - 1e-5
    assert value(large_set) == pytest.approx(covered(memory, tuple(sorted(large_set))), abs=1e-5)


def test_a_cheap_row_does_not_keep_out_the_one_that_matters() -> None:
    """Gain per token alone would take the cheap row and have no room left for the other nine."""
    cheap, dear = Row(0, 1, 1, 1, 0), Row(1, 5, 1, 40, 1)
    memory = memory_of([cheap, *[dear] * 9])
    apart = Memory(
        np.array([[1, 0]] + [[0, 1]] * 9, dtype=np.float32),
        memory.weights,
        memory.times,
        np.array([1] + [400] * 9, dtype=np.int32),
        memory.clusters,
    )
    assert DIVERSITY.select(apart, NO_CANDIDATES[:, :2], 400).tolist() == [9]


def test_every_interest_is_represented_before_any_twice() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 0, 0, 0, 1, 1, 2, 3]]
    memory = Memory(
        vectors,
        np.ones(9),
        np.arange(9, dtype=np.int64),
        np.full(9, 5, dtype=np.int32),
        np.zeros(9, dtype=np.int32),
    )
    assert DIVERSITY.select(memory, vectors, 20).tolist() == [4, 6, 7, 8]
    assert DIVERSITY.select(memory, vectors, 40).tolist() == [4, 6, 7, 8], "repeats add no coverage"


def test_only_the_newest_rows_of_a_very_long_history_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 10)
    memory = random_memory(30, seed=2)
    newest = Memory(
        memory.vectors[20:], memory.weights[20:], memory.times[20:], memory.tokens[20:], memory.clusters[20:]
    )
    chosen = DIVERSITY.select(memory, NO_CANDIDATES, 30)
    assert np.array_equal(chosen, DIVERSITY.select(newest, NO_CANDIDATES, 30) + 20)
