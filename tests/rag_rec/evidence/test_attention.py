from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.evidence import Attention, Memory
from tests.rag_rec.evidence.memories import DIRECTIONS, NO_CANDIDATES, Row, memory_of, random_memory, rows, unit_vectors


def mass_by_hand(memory: Memory, candidates: np.ndarray, temperature: float) -> list[float]:
    mass = [0.0] * len(memory)
    for query in candidates.astype(float):
        raised = [
            weight * math.exp(float(query @ key) / temperature)
            for key, weight in zip(memory.vectors.astype(float), memory.weights, strict=True)
        ]
        for row, value in enumerate(raised):
            mass[row] += value / sum(raised) / len(candidates)
    return mass


@given(history=st.lists(rows, min_size=1, max_size=12), seed=st.integers(0, 99))
def test_mass_equals_softmax_by_hand(history: list[Row], seed: int) -> None:
    memory, candidates = memory_of(history), unit_vectors(4, seed)
    mass = Attention(temperature=0.2).mass(memory, candidates)
    assert mass == pytest.approx(mass_by_hand(memory, candidates, 0.2), rel=1e-4)
    assert mass.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_taken_by_descending_mass_while_they_fit(seed: int) -> None:
    memory, candidates, left = random_memory(30, seed), unit_vectors(6, seed), 50
    expected = []
    mass = mass_by_hand(memory, candidates, 0.1)
    for row in sorted(range(30), key=lambda row: -mass[row]):
        if memory.tokens[row] <= left:
            expected.append(row)
            left -= int(memory.tokens[row])
    assert Attention().select(memory, candidates, 50).tolist() == sorted(expected)


def test_what_the_candidates_are_about_is_shown() -> None:
    memory = memory_of([Row(direction, 3, 1, 5, 0) for direction in [0, 1, 2, 3, 4, 5]])
    for direction in range(6):
        candidates = DIRECTIONS[[direction]].astype(np.float32)
        assert Attention().select(memory, candidates, 5).tolist() == [direction]


def test_every_candidate_has_the_same_say() -> None:
    """A mean of all queries, as in CRAGRU's code, would lose the interest of the minority."""
    memory = Memory(
        np.eye(3, dtype=np.float32),
        np.full(3, 0.5),
        np.arange(3, dtype=np.int64),
        np.full(3, 5, dtype=np.int32),
        np.zeros(3, dtype=np.int32),
    )
    candidates = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    assert Attention().mass(memory, candidates) == pytest.approx([0.75, 0.25, 0.0], abs=1e-3)


def test_of_equal_rows_the_better_liked_and_then_the_newer_comes_first() -> None:
    candidates = DIRECTIONS[[0]].astype(np.float32)
    liked = memory_of([Row(0, 5, 1, 5, 0), Row(0, 2, 1, 5, 0)])
    assert Attention().select(liked, candidates, 5).tolist() == [0]
    equal = memory_of([Row(0, 3, 1, 5, 0) for _ in range(9)])
    assert Attention().select(equal, candidates, 14).tolist() == [7, 8]


@given(history=st.lists(rows, max_size=15), seed=st.integers(0, 99), budget=st.integers(0, 60))
def test_the_order_of_candidates_does_not_matter(history: list[Row], seed: int, budget: int) -> None:
    memory, candidates = memory_of(history), unit_vectors(7, seed)
    first = Attention().select(memory, candidates, budget)
    assert np.array_equal(first, Attention().select(memory, candidates[::-1], budget))


def test_without_candidates_the_best_liked_rows_are_shown() -> None:
    memory = memory_of([Row(0, rating, 1, 5, 0) for rating in [1, 4, 2, 5, 4]])
    assert Attention().select(memory, NO_CANDIDATES, 10).tolist() == [3, 4]
