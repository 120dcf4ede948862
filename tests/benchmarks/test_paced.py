"""When the calls of a stream are due."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.paced import Stream, plain

CALLS = [plain(b"")] * 50


def test_calls_are_due_at_even_intervals() -> None:
    assert Stream(CALLS, per_s=5, connections=1).due() == pytest.approx(np.arange(50) / 5)


def test_with_a_seed_each_is_due_at_a_random_instant_of_its_interval() -> None:
    due = Stream(CALLS, per_s=5, connections=1, seed=7).due()
    assert (np.floor(due * 5) == np.arange(50)).all()
    assert len(np.unique((due * 5) % 1)) == 50
    assert (due == Stream(CALLS, per_s=5, connections=1, seed=7).due()).all()
    assert (due != Stream(CALLS, per_s=5, connections=1, seed=8).due()).any()
