from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax

from rag_rec.evaluation.audit.distance import (
    Nearer,
    jensen_shannon,
    maximum_mean_discrepancy,
    mean_distances,
    overlaps,
)
from rag_rec.evaluation.membership import Floats


def distributions(seed: int) -> Floats:
    return np.asarray(log_softmax(np.random.default_rng(seed).normal(size=(6, 9)), axis=1))


def test_the_divergence_is_that_of_scipy() -> None:
    first, second = distributions(0), distributions(1)
    expected = jensenshannon(np.exp(first), np.exp(second), axis=1) ** 2
    assert jensen_shannon(first, second) == pytest.approx(expected)
    assert jensen_shannon(first, first) == pytest.approx(np.zeros(6))


def test_disjoint_distributions_are_as_far_apart_as_can_be() -> None:
    with np.errstate(divide="ignore"):
        first, second = np.log(np.array([[1.0, 0.0]])), np.log(np.array([[0.0, 1.0]]))
    assert jensen_shannon(first, second) == pytest.approx([np.log(2.0)])


def test_several_retrainings_count_alike() -> None:
    view, others = distributions(0), [distributions(1), distributions(2)]
    expected = (jensen_shannon(view, others[0]) + jensen_shannon(view, others[1])) / 2.0
    assert mean_distances(view, others) == pytest.approx(expected)


def test_the_discrepancy_of_kernels_is_the_sum_over_all_pairs() -> None:
    draws = np.random.default_rng(0)
    first, second = draws.normal(size=(5, 3)), draws.normal(1.0, 1.0, size=(7, 3))
    both = np.concatenate([first, second])
    width = np.median([((a - b) ** 2).sum() for a, b in itertools.combinations(both, 2)])

    def alike(a: Floats, b: Floats) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / width))

    within = [np.mean([alike(a, b) for a, b in itertools.combinations(part, 2)]) for part in (first, second)]
    across = np.mean([alike(a, b) for a in first for b in second])
    assert maximum_mean_discrepancy(first, second) == pytest.approx(sum(within) - 2.0 * across)


def test_one_distribution_is_no_distance_and_another_one_is() -> None:
    draws = np.random.default_rng(1)
    first, second = draws.normal(size=(200, 4)), draws.normal(size=(200, 4))
    assert abs(maximum_mean_discrepancy(first, second)) < 0.01
    assert maximum_mean_discrepancy(first, second + 1.0) > 0.1
    assert maximum_mean_discrepancy(np.zeros((3, 2)), np.zeros((3, 2))) == 0.0


def test_lists_that_are_the_same_overlap_wholly() -> None:
    ranked = np.array([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]])
    other = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    found = overlaps(ranked, other, depth=2)
    assert found[0] == 1.0
    assert found[1] == 0.0


def test_a_result_that_came_nearer_is_told_from_one_that_did_not() -> None:
    draws = np.random.default_rng(2)
    original = draws.random(100)
    nearer = Nearer.of(original - 0.1 * draws.random(100), original, seed=0)
    assert nearer.change < 0.0
    assert nearer.p < 0.01
    assert Nearer.of(original + 0.1 * draws.random(100), original, seed=0).p > 0.9
    assert Nearer.of(original + draws.normal(0.0, 0.1, 100), original, seed=0).p > 0.05
