from __future__ import annotations

import numpy as np

from rag_rec.evidence.budget import affordable, fill, total

TOKENS = np.array([5, 9, 3, 4], dtype=np.int32)


def test_affordable_rows_fit_on_their_own() -> None:
    assert affordable(TOKENS, 5).tolist() == [0, 2, 3]
    assert affordable(TOKENS, 2).tolist() == []


def test_fill_passes_over_rows_that_no_longer_fit() -> None:
    assert fill(np.array([3, 1, 0, 2]), TOKENS, 9).tolist() == [0, 3]
    assert fill(np.array([3, 1, 0, 2]), TOKENS, 8).tolist() == [2, 3]


def test_total_does_not_overflow() -> None:
    tokens = np.full(3, 2**31 - 1, dtype=np.int32)
    assert total(tokens, np.arange(3)) == 3 * (2**31 - 1)
