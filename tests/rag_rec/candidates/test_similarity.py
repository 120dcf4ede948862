from __future__ import annotations

import numpy as np
import pytest

from rag_rec.candidates import similarity
from rag_rec.candidates.similarity import TextSimilarity


def vectors(n: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    drawn = np.random.default_rng(seed).normal(size=(n, 8))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def test_the_mean_is_that_of_the_cosines() -> None:
    matrix = vectors(20)
    expected = np.mean([[float(a @ b) for a in matrix] for b in matrix[[3, 5, 3]]], axis=0)
    known = TextSimilarity()
    for _ in range(2):
        assert known.mean(matrix, [3, 5, 3]) == pytest.approx(expected, abs=1e-6)


def test_another_matrix_is_not_answered_from_the_rows_of_the_one_before() -> None:
    known, first, second = TextSimilarity(), vectors(20), vectors(30, seed=1)
    known.mean(first, [2])
    assert np.array_equal(known.mean(second, [2]), TextSimilarity().mean(second, [2]))
    assert np.array_equal(known.mean(first, [2]), TextSimilarity().mean(first, [2]))


def test_memory_is_bounded_and_what_was_dropped_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "ROWS_BYTES", 3 * 20 * 4)
    matrix, known = vectors(20), TextSimilarity()
    for item in range(20):
        assert np.array_equal(known.mean(matrix, [item]), TextSimilarity().mean(matrix, [item]))
        assert len(known._held[1]) <= 3
