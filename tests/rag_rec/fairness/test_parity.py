"""Figures of the people's side on lists small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rag_rec.errors import InvalidInput
from rag_rec.fairness.groups import Groups
from rag_rec.fairness.parity import AccuracyGap, CalibrationGap, ExposureGap
from rag_rec.fairness.served import Served

PEOPLE = Groups.by(["m"] * 10 + ["w"] * 10 + [None])
CATEGORIES = Groups.by(["a", "a", "b", "b", None])
LISTS = np.array([[0, 1]] * 10 + [[2, 0]] * 10 + [[3, 3]])
SERVED = Served.of(LISTS, np.array([0] * 10 + [0] * 5 + [1] * 5 + [3]), 5)


def test_accuracy_differs_by_the_means_of_the_groups() -> None:
    # Men have their answer first; women have it second, or not at all.
    assert AccuracyGap("gender:ndcg", PEOPLE).of(SERVED) == pytest.approx(1.0 - 0.5 / np.log2(3.0))
    assert AccuracyGap("gender:hr", PEOPLE, hits=True).of(SERVED) == 0.5


def test_who_has_no_group_counts_nowhere() -> None:
    without = SERVED.taken(np.arange(20))
    for metric in (AccuracyGap("x", PEOPLE), ExposureGap("x", PEOPLE, CATEGORIES)):
        assert metric.of(SERVED) == metric.of(without)


def test_exposure_differs_by_the_places_that_would_have_to_move() -> None:
    assert ExposureGap("gender:dp", PEOPLE, CATEGORIES).of(SERVED) == 0.5  # a: all of the places, and half of them


def test_of_three_groups_the_two_that_differ_most_count() -> None:
    people = Groups.by(["one"] * 10 + ["two"] * 10 + ["three"] * 10)
    lists = np.array([[0, 1]] * 10 + [[0, 2]] * 10 + [[2, 3]] * 10)
    served = Served.of(lists, np.array([0] * 30), 5)
    assert ExposureGap("x", people, CATEGORIES).of(served) == 1.0
    assert AccuracyGap("x", people).of(served) == 1.0


def test_calibration_is_to_the_history_of_each_person() -> None:
    histories = np.array([[1.0, 0.0]] * 10 + [[1.0, 0.0]] * 10 + [[0.5, 0.5]])
    # The lists of men are as their histories; half of the places of women are not.
    assert CalibrationGap("x", PEOPLE, CATEGORIES, histories).of(SERVED) == 0.5
    drawn = SERVED.taken(np.array([12, 3, 3, 19]))
    assert CalibrationGap("x", PEOPLE, CATEGORIES, histories).of(drawn) == 0.5


def test_a_group_that_nobody_is_of_is_left_out() -> None:
    men = SERVED.taken(np.arange(10))
    assert AccuracyGap("x", PEOPLE).of(men) == 0.0
    assert ExposureGap("x", PEOPLE, CATEGORIES).of(men) == 0.0


def test_groups_that_cannot_be_compared_are_refused() -> None:
    few = Groups.by(["m"] * 20 + ["w"])
    for make in (AccuracyGap, lambda name, groups: ExposureGap(name, groups, CATEGORIES)):
        with pytest.raises(InvalidInput, match="'w' has 1"):
            make("gender", few)
    with pytest.raises(InvalidInput, match="makes no two groups"):
        CalibrationGap("gender", Groups.by(["m"] * 21), CATEGORIES, np.zeros((21, 2)))
