"""The candidate model: features of every item, read in two steps, best first.

Everything it reads about people can be subtracted exactly (:mod:`rag_rec.candidates.statistics`), so after a forget it
proposes the same candidates to everybody else as if the person had never been there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from rag_rec.candidates.features import Features
from rag_rec.candidates.query import CandidateList, Query
from rag_rec.candidates.reranker import Reranker
from rag_rec.candidates.similarity import TextSimilarity
from rag_rec.candidates.statistics import Statistics
from rag_rec.events.history import History

CLOSER_LOOK: Final = 300
"""Items that pass from the coarse to the fine step, at least."""

NEIGHBOURS: Final = 50
"""Users with the nearest profiles whose last items count as votes."""

RECENT_PERIODS: Final = 3
"""Periods that count as recent for users without a history."""

SCORE_DECIMALS: Final = 9
"""Scores closer than this are ties, and go by item number."""

ItemVectors = Callable[[], npt.NDArray[np.float32]]
NeighbourHistory = Callable[[int], History]


class ProfileSearch(Protocol):
    """The part of a vector index that the model needs: the nearest profiles."""

    def search(self, queries: npt.NDArray[np.float32], k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """As :meth:`rag_rec.vectors.protocol.VectorIndex.search`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Items that got a closer look, ascending; coarse features of all items, and fine features of these."""

    items: npt.NDArray[np.int64]
    coarse: npt.NDArray[np.float64]
    fine: npt.NDArray[np.float64]


class CandidateModel:
    """Proposes items for a user.

    ``item_vectors`` returns the present matrix of unit item vectors, float32 [n, d]; ``profiles`` holds users' profile
    vectors by user number, and ``neighbour_history`` gives a user's positive history, from memory. ``reranker`` may be
    replaced at any time. Any number of threads may ask while one changes the statistics.
    """

    def __init__(
        self,
        statistics: Statistics,
        item_vectors: ItemVectors,
        profiles: ProfileSearch | None,
        neighbour_history: NeighbourHistory | None,
        reranker: Reranker,
    ) -> None:
        self.statistics = statistics
        self.reranker = reranker
        self._item_vectors = item_vectors
        self._profiles = profiles
        self._neighbour_history = neighbour_history
        self._similarity = TextSimilarity()

    @property
    def item_vectors(self) -> npt.NDArray[np.float32]:
        """The present item vectors."""
        return self._item_vectors()

    def features(self) -> Features:
        """Computes features from the present statistics and item vectors."""
        return Features(self.statistics, self._item_vectors(), self._similarity)

    def candidates(self, query: Query, n: int) -> CandidateList:
        """The ``n`` best items for a query, fewer where the filters leave fewer.

        A user without positives gets what is popular, recently first. Ties go by ascending item number.
        """
        features = self.features()
        eligible = _eligible(query, features.n_items)
        known = query.positives[query.positives["item"] < features.n_items]
        if not len(known):
            return self._popular(query, eligible, n)
        return self._personal(replace(query, positives=known), features, eligible, n)

    def popular(self, query: Query, n: int) -> CandidateList:
        """The ``n`` most popular items, recently first: what is left when nothing personal can be said."""
        return self._popular(query, _eligible(query, len(self._item_vectors())), n)

    def compare(self, query: Query, n: int = CLOSER_LOOK) -> Comparison:
        """The coarse step: the ``n`` items worth a closer look, and their features. The query must have a positive."""
        features = self.features()
        return self._compare(query, features, _eligible(query, features.n_items), n, self.reranker)

    def _compare(
        self, query: Query, features: Features, eligible: npt.NDArray[np.int64], n: int, reranker: Reranker
    ) -> Comparison:
        view = features.view(query)
        coarse = reranker.coarse_scores(view.coarse)
        items = eligible[_best(coarse[eligible], n)]
        neighbours = self._neighbours(query) if reranker.neighbours else []
        return Comparison(items, view.coarse, features.fine(view, items, neighbours))

    def _personal(self, query: Query, features: Features, eligible: npt.NDArray[np.int64], n: int) -> CandidateList:
        reranker = self.reranker
        compared = self._compare(query, features, eligible, max(n, CLOSER_LOOK), reranker)
        scores = _log_softmax(reranker.fine_scores(compared.fine))
        order = _order(scores, compared.items)[:n]
        chosen = compared.items[order]
        sources = reranker.sources(compared.coarse[chosen], compared.coarse[compared.items])
        return CandidateList(chosen.astype(np.int32), scores[order], sources)

    def _popular(self, query: Query, eligible: npt.NDArray[np.int64], n: int) -> CandidateList:
        popularity = self.statistics.popularity
        recent = popularity.recent(query.reference_time, RECENT_PERIODS, eligible)
        counts = recent + popularity.total[eligible] / (1.0 + popularity.total.max(initial=0))
        scores = _log_softmax(np.log(counts + 1e-6))
        order = _order(scores, eligible)[:n]
        sources: list[tuple[str, ...]] = [("popularity",)] * len(order)
        return CandidateList(eligible[order].astype(np.int32), scores[order], sources, personal=False)

    def _neighbours(self, query: Query) -> list[History]:
        if self._profiles is None or self._neighbour_history is None or query.profile is None:
            return []
        numbers, _ = self._profiles.search(query.profile[None, :], NEIGHBOURS + 1)
        users = [user for user in numbers[0].tolist() if user >= 0 and user != query.user]
        return [self._neighbour_history(user) for user in users[:NEIGHBOURS]]


def _eligible(query: Query, n_items: int) -> npt.NDArray[np.int64]:
    """Numbers of the items that may be proposed, ascending."""
    mask = np.zeros(n_items, dtype=np.bool_)
    if query.allowed is None:
        mask[:] = True
    else:
        shared = min(n_items, len(query.allowed))
        mask[:shared] = query.allowed[:shared]
    mask[query.seen[query.seen < n_items]] = False
    return np.flatnonzero(mask)


def _best(scores: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """Positions of the ``k`` largest scores, ascending; of equal ones the first."""
    if len(scores) <= k:
        return np.arange(len(scores))
    least = np.partition(scores, -k)[-k]
    above = np.flatnonzero(scores > least)
    level = np.flatnonzero(scores == least)[: k - len(above)]
    return np.sort(np.concatenate([above, level]))


def _order(scores: npt.NDArray[np.float64], items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Best first; scores that agree to nine decimals by ascending item number."""
    return np.lexsort((items, -np.round(scores, SCORE_DECIMALS)))


def _log_softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not len(scores):
        return scores
    shifted = scores - scores.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
