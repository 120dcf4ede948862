from __future__ import annotations

import numpy as np
import pytest

from rag_rec.errors import InvalidInput
from rag_rec.evaluation.audit.attacks import (
    CALIBRATED,
    LIKELIHOOD,
    LISTS,
    MIN_K,
    RMIA,
    Reading,
    References,
    Strength,
    lowest_mean,
    scores,
)

PEOPLE = 400
MEMBERS = np.arange(PEOPLE) % 2 == 0


def a_world(remembered: float) -> tuple[Reading, References]:
    """People whose histories are ordinary to very different degrees, which hides what is remembered of members."""
    draws = np.random.default_rng(0)
    ordinary = draws.normal(-6.0, 1.0, PEOPLE)
    saw = draws.random((6, PEOPLE)) < 0.5
    saw[0] = False
    trained = ordinary + draws.normal(0.0, 0.05, (6, PEOPLE)) + 0.3 * saw
    reached = ordinary + draws.normal(0.0, 0.05, PEOPLE) + remembered * MEMBERS
    return Reading(reached, reached - 2.0, np.exp(reached)), References(trained, saw, np.full(PEOPLE, -8.0))


def test_a_reference_finds_what_the_likelihood_alone_does_not() -> None:
    found = {name: Strength.of(each, MEMBERS, seed=0) for name, each in scores(*a_world(0.3)).items()}
    assert set(found) == {LIKELIHOOD, CALIBRATED, MIN_K, LISTS, RMIA}
    assert found[RMIA].auc > 0.95
    assert found[RMIA].found > 0.8
    assert found[LIKELIHOOD].auc < 0.7


def test_no_attack_tells_anything_of_what_remembers_nobody() -> None:
    for each in scores(*a_world(0.0)).values():
        found = Strength.of(each, MEMBERS, seed=0)
        assert found.interval[0] < 0.5 < found.interval[1]
        assert found.found < 0.05


def test_rmia_divides_by_the_references_that_did_not_see_the_person() -> None:
    likelihood = np.log(np.array([[0.2, 0.8], [0.4, 0.1]]))
    references = References(likelihood, np.array([[False, True], [False, False]]), np.zeros(2))
    assert references.unseen() == pytest.approx([0.3, 0.1])
    reading = Reading(np.log(np.array([0.6, 0.6])), np.zeros(2), np.zeros(2))
    expected = np.log(0.6 / np.array([0.3, 0.1]))
    assert scores(reading, references)[RMIA] == pytest.approx(expected)


def test_a_person_whom_every_reference_saw_is_refused() -> None:
    with pytest.raises(InvalidInput, match="train one more"):
        References(np.zeros((2, 2)), np.array([[True, False], [True, True]]), np.zeros(2))


def test_one_false_alarm_in_a_hundred() -> None:
    values = np.concatenate([np.arange(200.0), np.arange(200.0) + 100.0])  # the others are 0 to 199
    members = np.arange(400) >= 200
    assert Strength.of(values, members, seed=0).found == pytest.approx(np.mean(values[members] > 198))


def test_lists_alone_tell_whose_choices_stand_high_in_them() -> None:
    reading, references = a_world(0.0)
    logs = [np.array([each, each]) for each in reading.likelihood]
    gains = [np.array([0.5, 0.1 + 0.4 * inside]) for inside in MEMBERS]
    read = Reading.of(logs, gains)
    assert read.likelihood == pytest.approx(reading.likelihood)
    assert read.listed == pytest.approx(np.where(MEMBERS, 0.5, 0.3))
    found = {name: Strength.of(each, MEMBERS, seed=0) for name, each in scores(read, references).items()}
    assert found[LISTS].auc == 1.0
    assert found[LIKELIHOOD].auc < 0.6


def test_the_least_expected_choices() -> None:
    assert lowest_mean([np.array([-1.0, -5.0, -2.0, -3.0, -4.0]), np.array([-7.0])], share=0.4) == pytest.approx(
        [-4.5, -7.0]
    )
