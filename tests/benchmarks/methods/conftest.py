"""Known histories along a ring, so that what comes next is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.data import Benchmark
from rag_rec.events.history import HISTORY_DTYPE, History

ITEMS = 12


def history_of(user: int, items: list[int]) -> History:
    history = np.zeros(len(items), dtype=HISTORY_DTYPE)
    history["item"], history["interaction"] = items, 100 * user + np.arange(len(items))
    return history


@pytest.fixture(scope="module")
def ring() -> Benchmark:
    """Everybody walks along a ring, so that what comes next is known."""
    histories = [
        (user, history_of(user, [(user + step) % ITEMS for step in range(2 + user % 6)])) for user in range(60)
    ]
    return Benchmark("ring", histories, [f"item {item}" for item in range(ITEMS)], least=4)
