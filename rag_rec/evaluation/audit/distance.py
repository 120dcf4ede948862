"""How far one set of parameters is from another, by what both say: distributions, features and lists of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist
from scipy.special import rel_entr

from rag_rec.evaluation.membership import Floats
from rag_rec.evaluation.ranking import rank_biased_overlap

PERMUTATIONS: Final = 2000
DEPTH: Final = 10


def jensen_shannon(first: Floats, second: Floats) -> Floats:
    """The Jensen-Shannon divergence of each row in nats, float64 [n]: 0 where equal, log 2 where disjoint.

    Args:
        first: log-probabilities that sum to 1, float64 [n, v].
        second: the same.
    """
    one, other = np.exp(first), np.exp(second)
    middle = (one + other) / 2.0
    return np.asarray((rel_entr(one, middle) + rel_entr(other, middle)).sum(axis=1) / 2.0)


def maximum_mean_discrepancy(first: Floats, second: Floats) -> float:
    """The squared distance of two sets of feature vectors in the space of a Gaussian kernel, without bias; about 0
    where both come from one distribution.

    Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, equation 3; the width of the kernel is the median distance.

    Args:
        first: float64 [n, d], n at least 2.
        second: float64 [m, d], m at least 2.
    """
    distances = cdist(both := np.concatenate([first, second]), both, "sqeuclidean")
    width = float(np.median(distances[np.triu_indices(len(both), 1)]))
    alike = np.exp(-distances / width) if width > 0.0 else np.ones_like(distances)
    n = len(first)
    return _mean_of_pairs(alike[:n, :n]) + _mean_of_pairs(alike[n:, n:]) - 2.0 * float(alike[:n, n:].mean())


def overlaps(first: Floats, second: Floats, depth: int = DEPTH) -> Floats:
    """Rank-biased overlap of the best items of each row, float64 [n]; the rows are scores, float64 [n, items]."""
    lists = (np.argsort(-scores, axis=1, kind="stable")[:, :depth].tolist() for scores in (first, second))
    return np.array([rank_biased_overlap(one, other) for one, other in zip(*lists, strict=True)])


@dataclass(frozen=True, slots=True)
class Nearer:
    """Whether a result is nearer to the retrained than the original is.

    The relative test of three samples of Bounliphone et al. ("A Test of Relative Similarity For Model Selection in
    Generative Models", arXiv 1511.04581), here with pairs of the same people and random signs.

    Attributes:
        change: mean distance of the result to the retrained, less that of the original; negative is nearer.
        p: how likely so low a change is where neither is nearer.
    """

    change: float
    p: float

    @classmethod
    def of(cls, result: Floats, original: Floats, seed: int) -> Nearer:
        """Compare the distances of the same people to the retrained, float64 [n] each."""
        difference = result - original
        found = stats.permutation_test(
            [difference],
            np.mean,
            permutation_type="samples",
            alternative="less",
            n_resamples=PERMUTATIONS,
            rng=np.random.default_rng(seed),
            vectorized=True,
        )
        return cls(float(difference.mean()), float(found.pvalue))


def mean_distances(view: Floats, others: Sequence[Floats]) -> Floats:
    """Each person's mean :func:`jensen_shannon` to several other sets of parameters, float64 [n]."""
    return np.asarray(np.mean([jensen_shannon(view, other) for other in others], axis=0))


def _mean_of_pairs(alike: Floats) -> float:
    """The mean off the diagonal."""
    n = len(alike)
    return float((alike.sum() - np.trace(alike)) / (n * (n - 1)))
