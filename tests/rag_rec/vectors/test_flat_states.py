"""The flat index against the reference over random sequences of operations."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rag_rec.vectors.flat import FlatIndex
from tests.rag_rec.vectors.reference import ReferenceIndex

DIMENSION = 3
numbers = st.lists(st.integers(0, 40), unique=True, max_size=30)
seeds = st.integers(0, 5)


def coarse_vectors(count: int, seed: int) -> np.ndarray:
    """Vectors of few different values, so that many scores tie."""
    return np.random.default_rng(seed).integers(-1, 2, (count, DIMENSION)).astype(np.float32) / 4


class FlatIndexMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.index = FlatIndex(DIMENSION)
        self.reference = ReferenceIndex(DIMENSION)

    @rule(chosen=numbers, seed=seeds)
    def put(self, chosen: list[int], seed: int) -> None:
        for held in (self.index, self.reference):
            held.put(np.array(chosen, dtype=np.int64), coarse_vectors(len(chosen), seed))

    @rule(chosen=numbers)
    def remove(self, chosen: list[int]) -> None:
        array = np.array(chosen, dtype=np.int64)
        assert self.index.remove(array) == self.reference.remove(array)

    @rule(seed=seeds, k=st.integers(1, 50))
    def search(self, seed: int, k: int) -> None:
        queries = coarse_vectors(2, seed + 100)
        for found, expected in zip(self.index.search(queries, k), self.reference.search(queries, k), strict=True):
            np.testing.assert_array_equal(found, expected)

    @rule()
    def reload(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.index.save(Path(folder))
            self.index = FlatIndex.load(Path(folder))

    @invariant()
    def equal(self) -> None:
        assert len(self.index) == len(self.reference)
        np.testing.assert_array_equal(self.index.numbers(), self.reference.numbers())
        held = self.reference.numbers()
        np.testing.assert_array_equal(self.index.vectors(held), self.reference.vectors(held))

    @invariant()
    def nothing_beyond_the_rows_in_use(self) -> None:
        assert not self.index._codes[len(self.index) :].any()


TestFlatIndexMachine = FlatIndexMachine.TestCase
TestFlatIndexMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
