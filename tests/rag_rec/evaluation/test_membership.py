from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.evaluation.membership import LEAST_PEOPLE, Attack, Membership, auc


def members_of(people: int) -> npt.NDArray[np.bool_]:
    """Every other person."""
    return np.asarray(np.arange(people) % 2 == 0)


SCORES = st.lists(st.integers(-3, 3), min_size=1, max_size=12)  # many ties


@given(SCORES, SCORES)
@settings(max_examples=50, deadline=None)
def test_auc_is_the_share_of_pairs_in_which_the_member_is_above(inside: list[int], outside: list[int]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(inside, outside)]
    assert auc(np.array(inside, dtype=float), np.array(outside, dtype=float)) == pytest.approx(np.mean(pairs))


def test_an_attack_on_what_remembers_everybody_finds_everybody() -> None:
    members = members_of(60)
    found = Attack.of(members + 0.1 * np.random.default_rng(0).random(60), members, seed=0)
    assert (found.auc, found.interval) == (1.0, (1.0, 1.0))


def test_an_attack_on_what_remembers_nobody_is_a_guess() -> None:
    members = members_of(400)
    found = Attack.of(np.random.default_rng(1).normal(size=400), members, seed=0)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.2


def test_the_auc_of_many_resamples_is_that_of_each() -> None:
    """The interval is taken along an axis; with one resample after the other it is the same."""
    scores, members = np.random.default_rng(5).normal(size=80), members_of(80)
    shifted = Attack.of(scores + 1.0 * members, members, seed=0)
    assert shifted.interval[0] < shifted.auc < shifted.interval[1]
    assert shifted.auc == pytest.approx(0.76, abs=0.12)  # two normal distributions, one deviation apart


def test_the_stronger_attack_is_what_is_kept() -> None:
    members, draws = members_of(400), np.random.default_rng(2)
    ordinary = 10 * draws.normal(size=400)
    found = Membership.measure(ordinary + 2 * members + 0.1 * draws.normal(size=400), ordinary, members, seed=0)
    assert (found.members, found.held_out, found.auc) == (200, 200, 1.0)
    assert found.attack is not None and "reference" in found.attack
    plain = Membership.measure(members + draws.normal(size=400), 9 * draws.normal(size=400), members, seed=0)
    assert plain.attack == "likelihood"


def test_too_few_people_on_either_side_are_not_measured() -> None:
    scores = np.random.default_rng(0).normal(size=LEAST_PEOPLE + 200)
    members = np.arange(len(scores)) >= LEAST_PEOPLE - 1
    few = Membership.measure(scores, scores, members, seed=0)
    assert few == Membership(201, LEAST_PEOPLE - 1)
    assert Membership.measure(scores, scores, np.arange(len(scores)) >= LEAST_PEOPLE, seed=0).auc is not None


def test_what_was_measured_survives_saving() -> None:
    found = Membership(900, 200, "likelihood", 0.55, 0.51, 0.59, "g")
    assert Membership.read(found.fields()) == found
    assert Membership.read(None) is None
    for damaged in ({"auc": 1.5}, {"low": None}, {"who": "else"}):
        with pytest.raises((TypeError, ValueError)):
            Membership.read({**found.fields(), **damaged})
