"""Figures of the items' side on lists small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rag_rec.fairness.exposure import Coverage, Gini, GroupUnfairness, MeanPopularity, Share, TailShare, gini
from rag_rec.fairness.groups import bands, head
from rag_rec.fairness.served import Served, shares

POPULARITY = np.array([100, 90, 80, 70, 60, 50, 40, 30, 20, 10])
"""Items in the order of their number: the head is 0 and 1; the five bands are 0-1, 2-3, 4-5, 6-7, 8-9."""
ITEMS = len(POPULARITY)
CHOSEN = np.array([0, 2, 5, 9])
HEAD_ALONE = Served.of(np.array([[0, 1], [0, 1], [1, 0], [1, 0]]), CHOSEN, ITEMS)


def unfairness(served: Served, chosen: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[float, float]:
    groups = bands(POPULARITY)
    expected = shares(chosen, groups)
    found = [GroupUnfairness(name, groups, expected, name == "dgu").of(served) for name in ("mgu", "dgu")]
    return found[0], found[1]


def test_lists_of_the_head_alone() -> None:
    assert Share("popularity", head(POPULARITY), 0.25).of(HEAD_ALONE) == 1.0
    assert TailShare(head(POPULARITY), 0.75).of(HEAD_ALONE) == 0.0
    assert MeanPopularity(POPULARITY, 65.0).of(HEAD_ALONE) == 95.0
    # Shares of the places 1 0 0 0 0, of the choices 1/4 1/4 1/4 0 1/4: gaps 3/4 -1/4 -1/4 0 -1/4.
    assert unfairness(HEAD_ALONE, CHOSEN) == pytest.approx((0.3, 1.0))
    assert Gini().of(HEAD_ALONE) == 0.8  # exposure 4 4 and eight times 0
    assert Coverage().of(HEAD_ALONE) == 0.2


def test_lists_that_follow_the_choices_are_fair() -> None:
    chosen = np.array([0, 3, 5, 7, 9])
    served = Served.of(chosen[:, None], chosen, ITEMS)
    assert unfairness(served, chosen) == (0.0, 0.0)
    assert Share("popularity", head(POPULARITY), 0.2).of(served) == 0.2
    assert Gini().of(served) == 0.5


def test_the_worst_of_a_group_figure_is_reached_by_lists_of_one_group() -> None:
    groups = bands(POPULARITY)
    expected = shares(CHOSEN, groups)
    worst = Served.of(np.array([[6, 7]]), np.array([0]), ITEMS)  # the band that nobody chose
    for name in ("mgu", "dgu"):
        metric = GroupUnfairness(name, groups, expected, name == "dgu")
        assert metric.of(worst) == pytest.approx(metric.span[1])
        assert metric.of(HEAD_ALONE) < metric.span[1]


def test_people_count_alike_whatever_the_length_of_their_list() -> None:
    served = Served.of(np.array([[0, 1, 2, 3], [9, -1, -1, -1], [-1, -1, -1, -1]]), np.array([0, 0, 0]), ITEMS)
    assert TailShare(head(POPULARITY), 0.5).of(served) == 0.75
    assert Share("popularity", head(POPULARITY), 0.5).of(served) == 0.4


@pytest.mark.parametrize(
    ("exposure", "expected"), [([3, 3, 3], 0.0), ([0, 0, 0, 8], 0.75), ([4, 0], 0.5), ([1, 3], 0.25), ([0, 0], 0.0)]
)
def test_gini(exposure: list[int], expected: float) -> None:
    assert gini(np.array(exposure)) == pytest.approx(expected)


def test_gini_is_the_mean_difference_over_twice_the_mean() -> None:
    exposure = np.random.default_rng(0).integers(0, 50, 30)
    differences = np.abs(exposure[:, None] - exposure[None, :]).mean()
    assert gini(exposure) == pytest.approx(differences / (2 * exposure.mean()))
