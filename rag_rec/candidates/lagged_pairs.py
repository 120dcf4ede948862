"""Ordered pairs of items that follow each other within a few steps in one user's history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag_rec.events.history import HISTORY_DTYPE, History

WINDOW = 10
"""Largest lag that is counted: an item is paired with the ten that follow it."""

LAG_UNIT = 2520
"""Least common multiple of 1..10, so that the weight 1/lag is the integer ``LAG_UNIT // lag``."""


@dataclass(frozen=True, slots=True)
class LaggedPairs:
    """Pairs (``first`` before ``second``) at one ``lag``.

    Within one user every ordered pair of items occurs at most once over all lags, because a positive history holds
    each item once.
    """

    lag: int
    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]


def concatenate(histories: list[History]) -> tuple[History, npt.NDArray[np.int64]]:
    """Join histories into one array, with the position of the history that each row came from, int64 [n]."""
    if not histories:
        return np.empty(0, dtype=HISTORY_DTYPE), np.empty(0, dtype=np.int64)
    owners = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    return np.concatenate(histories), owners


def lagged_pairs(history: History, owners: npt.NDArray[np.int64], context: int = 0) -> Iterator[LaggedPairs]:
    """All pairs of the same owner at lags 1 to :data:`WINDOW`, one batch for each lag.

    Args:
        history: rows of one or more users, each user's rows together and in order.
        owners: int64 [n], ascending: which user a row belongs to.
        context: this many leading rows only serve as ``first``; pairs that end in them are left out.
    """
    items = np.ascontiguousarray(history["item"])
    for lag in range(1, min(WINDOW, len(items) - 1) + 1):
        start = max(0, context - lag)
        same = owners[start:-lag] == owners[start + lag :]
        yield LaggedPairs(lag, items[start:-lag][same], items[start + lag :][same])
