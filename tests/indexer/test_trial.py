from __future__ import annotations

import numpy as np
import pytest

from indexer.trial import LEAST, MOST, Trial, stand_ins
from rag_rec.errors import InvalidInput
from rag_rec.evaluation.membership import CALIBRATED, THRESHOLD, auc

MEMBERS = np.arange(60) < 25


@pytest.mark.parametrize(
    ("people", "requests", "count"),
    [(40, 1, LEAST), (300, 1, 30), (5000, 1, 50), (5000, 120, 120), (5000, 900, MOST), (60, 45, 30)],
)
def test_as_many_are_taken_out_as_leave_where_so_few_can_be_measured(people: int, requests: int, count: int) -> None:
    chosen = stand_ins(people, requests, 1)
    assert len(chosen) == len(set(chosen.tolist())) == count
    assert (np.diff(chosen) > 0).all() and chosen[-1] < people
    assert not np.array_equal(chosen, stand_ins(people, requests, 2))


def test_of_too_few_people_nobody_is_taken_out() -> None:
    with pytest.raises(InvalidInput, match="40 are needed"):
        stand_ins(39, 1, 1)


def a_trial() -> Trial:
    """People differ much in how ordinary they are; before, stand-ins were likelier by what was learned of them."""
    draws = np.random.default_rng(0)
    base = -5.0 + draws.normal(size=60)
    before = base + 0.8 * MEMBERS + 0.3 * draws.normal(size=60)
    return Trial(base, before, before - 0.7 * MEMBERS - 0.1, MEMBERS, 4)


def test_the_attack_that_told_more_before_is_kept() -> None:
    trial = a_trial()
    name, before, after = trial.attack()
    gained = trial.before - trial.base
    assert name == CALIBRATED
    assert before[0] == round(auc(gained[MEMBERS], gained[~MEMBERS]), 4) > 0.9
    assert after[1] <= 0.5 <= after[2]
    plain = Trial(np.random.default_rng(1).normal(size=60), trial.before - trial.base, trial.after, MEMBERS, 4)
    assert plain.attack()[0] == THRESHOLD


def test_gains_and_losses_are_in_nats() -> None:
    trial = a_trial()
    gained = trial.before - trial.base
    assert trial.gain(trial.before) == pytest.approx(gained[MEMBERS].mean() - gained[~MEMBERS].mean(), abs=1e-4)
    assert trial.gain(trial.before) - trial.gain(trial.after) == pytest.approx(0.7, abs=1e-3)
    assert trial.lost() == pytest.approx((0.1, 0.1, 0.1))


def test_all_of_it_is_told() -> None:
    trial = a_trial()
    found = trial.measured("influence", 3, 100)
    assert (found.method, found.removed, found.learned) == ("influence", 3, 100)
    assert (found.stand_ins, found.reserve) == (25, 35)
    assert (found.attack, found.before, found.after) == trial.attack()
    assert (found.gain_before, found.gain_after, found.lost) == (
        trial.gain(trial.before),
        trial.gain(trial.after),
        trial.lost(),
    )
