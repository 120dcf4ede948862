from __future__ import annotations

import numpy as np
import pytest

from rag_rec.fairness.exposure import Share
from rag_rec.fairness.groups import head
from rag_rec.fairness.judgement import judgement
from rag_rec.fairness.served import Served

ITEMS, PEOPLE, LENGTH = 40, 200, 5
DRAWS = np.random.default_rng(0)
CHOSEN = DRAWS.integers(ITEMS, size=PEOPLE)
HEAD = Share("popularity", head(np.arange(ITEMS, 0, -1)), 0.2)


def lists(bias: float) -> Served:
    """The answer is in every second list; the head is the likelier in it the greater the bias."""
    odds = np.where(np.arange(ITEMS) < 8, np.exp(bias), 1.0)
    rows = np.stack([DRAWS.choice(ITEMS, LENGTH, False, odds / odds.sum()) for _ in range(PEOPLE)])
    rows[::2, 0] = CHOSEN[::2]
    return Served.of(rows, CHOSEN, ITEMS)


def test_what_became_fairer_and_what_it_cost() -> None:
    before, after = lists(2.0), lists(0.0)
    found = judgement([HEAD], before, after, seed=0)
    change, low, high = found["figures"]["popularity"]
    old, new = found["gaps"]["popularity"]
    assert low < change < high < 0.0
    assert change == pytest.approx(new - old, abs=1e-5)
    assert found["ndcg"] == pytest.approx([before.gains.mean(), after.gains.mean()], abs=1e-6)
    assert found["loss"] == pytest.approx(1.0 - after.gains.mean() / before.gains.mean(), abs=1e-5)
    assert found["loss_interval"][0] <= found["loss"] <= found["loss_interval"][1]


def test_the_same_lists_do_not_differ() -> None:
    same = lists(1.0)
    found = judgement([HEAD], same, same, seed=0)
    assert found["figures"]["popularity"] == (0.0, 0.0, 0.0)
    assert (found["loss"], found["loss_interval"]) == (0.0, [0.0, 0.0])
