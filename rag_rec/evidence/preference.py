"""Evidence in proportion to a user's long-term interests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rag_rec.evidence.budget import Rows, affordable, fill, total
from rag_rec.evidence.protocol import Memory

HALF_LIFE = 50.0
"""After how many later interactions an interaction counts half.

Age is counted in interactions, not in days: one user rates a hundred films in an evening and another buys two books a
year, and for both the last few say most. It needs no clock, so the same history gives the same evidence at any time.
"""


def recency(times: npt.NDArray[np.int64], half_life: float = HALF_LIFE) -> npt.NDArray[np.float64]:
    """Weight in (0, 1] of each interaction, 1 for the newest; interactions of the same moment are equally old.

    Args:
        times: int64 [n], ascending.
        half_life: number of later interactions after which the weight has halved.

    Returns:
        float64 [n].
    """
    age = len(times) - np.searchsorted(times, times, side="right")
    return np.asarray(np.exp2(-age / half_life), dtype=np.float64)


class Preference:
    """Shares the token budget among the user's interests in proportion to how much the user cares about each.

    The user's interest in an item cluster is the sum over its rows of weight x recency (half-life
    :data:`HALF_LIFE` interactions). Inside a cluster, rows with the highest weight x recency
    come first. The budget is apportioned by highest averages (the method of Jefferson and D'Hondt, with tokens for
    seats): the next row is always the one whose cluster, including it, would hold the fewest tokens per unit of
    interest. What a cluster is too small to use flows to the others, as water levels out; no cluster ends short of its
    exact share by a whole row (the *lower quota*); and there is nothing random.

    Source: "preserve representative interactions according to long-term interest proportions", CRAGRU
    (arXiv 2511.05494), user-preference-based filtering. Its published code counts rows instead of weighing them by
    rating and recency, draws *random* rows inside a cluster, limits rows (100) instead of tokens and only once a
    history is longer than that, and takes as clusters K-means with K = 5 on a 2-D projection of genre words, a random
    one for an item with several genres. Here clusters are those of whole item texts (:mod:`rag_rec.evidence.clusters`).
    """

    def __init__(self, half_life: float = HALF_LIFE) -> None:
        self.half_life = half_life

    def select(self, memory: Memory, candidates: npt.NDArray[np.float32], budget: int) -> Rows:  # noqa: ARG002
        """Rows to show, ascending; candidates are ignored. See :class:`~rag_rec.evidence.protocol.EvidenceStrategy`."""
        rows = affordable(memory.tokens, budget)
        if not len(rows) or total(memory.tokens, rows) <= budget:
            return rows
        importance = memory.weights * recency(memory.times, self.half_life)
        order = _by_highest_averages(importance[rows], memory.tokens[rows], memory.clusters[rows])
        return fill(rows[order], memory.tokens, budget)


def _by_highest_averages(
    importance: npt.NDArray[np.float64], tokens: npt.NDArray[np.int32], clusters: npt.NDArray[np.int32]
) -> Rows:
    """Order in which rows get their place: ascending by tokens of the cluster so far, this row included, per interest.

    Ties go to the more important row, then to the newer one, so that the names of the clusters do not matter.
    """
    newest_first = -np.arange(len(importance))
    _, cluster = np.unique(clusters, return_inverse=True)
    interest = np.maximum(np.bincount(cluster, weights=importance), np.finfo(np.float64).tiny)
    grouped = np.lexsort((newest_first, -importance, cluster))
    running = np.cumsum(tokens[grouped], dtype=np.float64)
    first = np.searchsorted(cluster[grouped], np.arange(len(interest)))
    before = np.concatenate(([0.0], running))[first]
    level = np.empty(len(importance))
    level[grouped] = (running - before[cluster[grouped]]) / interest[cluster[grouped]]
    return np.lexsort((newest_first, -importance, level)).astype(np.int64)
