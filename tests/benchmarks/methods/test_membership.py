from __future__ import annotations

import numpy as np

from benchmarks.methods.membership import attacks, half


def test_members_are_a_random_half() -> None:
    members = half(101, seed=0)
    assert members.sum() == 50
    assert np.array_equal(members, half(101, seed=0))
    assert not np.array_equal(members, half(101, seed=1))


def test_the_reference_takes_out_how_ordinary_a_history_is() -> None:
    members, draws = half(400, seed=0), np.random.default_rng(2)
    ordinary = 10 * draws.normal(size=400)
    row = attacks(ordinary + 2 * members + 0.1 * draws.normal(size=400), ordinary, members, seed=0)
    assert isinstance(plain := row["membership auc, threshold"], float)
    assert plain < 0.7
    assert row["membership auc, calibrated"] == 1.0


def test_the_reference_itself_tells_nothing() -> None:
    likelihood = np.random.default_rng(3).normal(size=50)
    row = attacks(likelihood, likelihood, half(50, seed=0), seed=0)
    assert row["membership auc, calibrated"] == 0.5
    assert row["membership auc, calibrated, interval"] == [0.5, 0.5]
