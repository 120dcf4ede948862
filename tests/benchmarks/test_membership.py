from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.methods.membership import Attack, attacks, auc, half

SCORES = st.lists(st.integers(-3, 3), min_size=1, max_size=12)  # many ties


@given(SCORES, SCORES)
@settings(max_examples=50, deadline=None)
def test_auc_is_the_share_of_pairs_in_which_the_member_is_above(inside: list[int], outside: list[int]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(inside, outside)]
    assert auc(np.array(inside, dtype=float), np.array(outside, dtype=float)) == pytest.approx(np.mean(pairs))


def test_members_are_a_random_half() -> None:
    members = half(101, seed=0)
    assert members.sum() == 50
    assert np.array_equal(members, half(101, seed=0))
    assert not np.array_equal(members, half(101, seed=1))


def test_an_attack_on_what_remembers_everybody_finds_everybody() -> None:
    members = half(60, seed=0)
    found = Attack.of(members + 0.1 * np.random.default_rng(0).random(60), members, seed=0)
    assert (found.auc, found.interval) == (1.0, (1.0, 1.0))


def test_an_attack_on_what_remembers_nobody_is_a_guess() -> None:
    members = half(400, seed=0)
    found = Attack.of(np.random.default_rng(1).normal(size=400), members, seed=0)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.2


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
