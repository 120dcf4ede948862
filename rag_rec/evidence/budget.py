"""The token budget: what fits, and filling it in a given order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def affordable(tokens: npt.NDArray[np.int32], budget: int) -> Rows:
    """Rows that fit into the budget on their own, ascending. Only these can ever be chosen."""
    return np.flatnonzero(tokens <= budget)


def total(tokens: npt.NDArray[np.int32], rows: Rows) -> int:
    """Tokens of some rows together."""
    return int(tokens[rows].sum(dtype=np.int64))


def fill(order: Rows, tokens: npt.NDArray[np.int32], budget: int) -> Rows:
    """Take rows in ``order``, passing over those that no longer fit. Returns them ascending."""
    taken = []
    for row, cost in zip(order.tolist(), tokens[order].tolist(), strict=True):
        if cost <= budget:
            taken.append(row)
            budget -= cost
    return np.sort(np.array(taken, dtype=np.int64))
