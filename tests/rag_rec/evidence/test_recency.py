from __future__ import annotations

import numpy as np
import pytest

from rag_rec.evidence.recency import HALF_LIFE, recency


def test_weight_halves_with_every_half_life_of_later_interactions() -> None:
    weights = recency(np.arange(9, dtype=np.int64), half_life=4.0)
    assert weights[[8, 4, 0]].tolist() == [1.0, 0.5, 0.25]
    assert np.all(np.diff(weights) > 0)


def test_interactions_of_one_moment_are_equally_old() -> None:
    weights = recency(np.array([1, 1, 2, 2, 2], dtype=np.int64))
    assert weights[0] == weights[1] == pytest.approx(2.0 ** (-3 / HALF_LIFE))
    assert weights[2:].tolist() == [1.0, 1.0, 1.0]


def test_it_depends_on_the_order_of_times_only() -> None:
    times = np.array([3, 50, 50, 10_000], dtype=np.int64)
    assert np.array_equal(recency(times), recency(np.array([0, 1, 1, 2], dtype=np.int64)))


def test_an_empty_history_has_no_weights() -> None:
    assert recency(np.empty(0, dtype=np.int64)).shape == (0,)
