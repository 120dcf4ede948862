"""Figures of fairness on lists small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.methods.fairness import by_activity, gini, item_side, user_side

POPULARITY = np.array([100, 90, 80, 70, 60, 50, 40, 30, 20, 10])
"""Items in the order of their number: the head is 0 and 1; the five groups are 0-1, 2-3, 4-5, 6-7, 8-9."""


def test_lists_of_the_head_alone() -> None:
    recommended, chosen = np.array([[0, 1], [0, 1]]), np.array([0, 2, 5, 9])
    row = item_side(recommended, POPULARITY, chosen)
    assert row["head share"] == 1.0
    assert row["head share of choices"] == 0.25
    # Shares of the places 1 0 0 0 0, of the choices 1/4 1/4 1/4 0 1/4: gaps 3/4 -1/4 -1/4 0 -1/4.
    assert row["mgu"] == 0.3
    assert row["dgu"] == 1.0
    assert row["gini"] == 0.8  # exposure 2 2 and eight times 0


def test_lists_that_follow_the_choices_are_fair() -> None:
    chosen = np.array([0, 3, 5, 7, 9])
    row = item_side(chosen[:, None], POPULARITY, chosen)
    assert (row["mgu"], row["dgu"]) == (0.0, 0.0)
    assert row["head share"] == row["head share of choices"] == 0.2
    assert row["gini"] == 0.5


def test_the_head_is_what_many_like_whatever_its_number() -> None:
    row = item_side(np.array([[9, 8]]), POPULARITY[::-1].copy(), np.array([0]))
    assert (row["head share"], row["head share of choices"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("exposure", "expected"), [([3, 3, 3], 0.0), ([0, 0, 0, 8], 0.75), ([4, 0], 0.5), ([1, 3], 0.25), ([0, 0], 0.0)]
)
def test_gini(exposure: list[int], expected: float) -> None:
    assert gini(np.array(exposure)) == pytest.approx(expected)


def test_gini_is_the_mean_difference_over_twice_the_mean() -> None:
    exposure = np.random.default_rng(0).integers(0, 50, 30)
    differences = np.abs(exposure[:, None] - exposure[None, :]).mean()
    assert gini(exposure) == pytest.approx(differences / (2 * exposure.mean()))


def test_user_side_is_the_largest_difference_of_group_means() -> None:
    gains = np.array([1.0, 0.5, 0.0, 0.25])
    groups = {"gender": np.array([0, 0, 1, 1]), "age": np.array([2, 5, 5, 7])}
    # Gender: 0.75 and 0.125. Age: 1.0, 0.25, 0.25.
    assert user_side(gains, groups) == {"ndcg gap by gender": 0.625, "ndcg gap by age": 0.75}
    assert user_side(gains, {}) == {}


def test_activity_makes_four_groups_of_equal_size() -> None:
    assert by_activity(np.array([9, 1, 5, 2, 40, 3, 8, 30])).tolist() == [2, 0, 1, 0, 3, 1, 2, 3]
    assert np.bincount(by_activity(np.full(12, 7))).tolist() == [3, 3, 3, 3]
