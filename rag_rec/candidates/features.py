"""What the reranker sees of an item for a query: numbers computed from subtractable statistics and item texts.

There are two sets. *Coarse* features are cheap and computed for the whole catalogue; they choose the items that are
worth a closer look. *Fine* features are computed for those only. Every feature is rounded to :data:`DECIMALS`
decimals, so that the rounding noise of an updated P (1e-15) cannot reach the order of the candidates.

Below, "h" is the positive history, newest item last, and half-lives count items: with half-life 5, the sixth item from
the end weighs half of the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.candidates.lagged_pairs import LAG_UNIT, WINDOW
from rag_rec.candidates.query import Query
from rag_rec.candidates.similarity import TextSimilarity
from rag_rec.candidates.statistics import Statistics
from rag_rec.events.history import History

Floats = npt.NDArray[np.float64]
Items = npt.NDArray[np.integer]

DECIMALS: Final = 6
RECENT: Final = 50  # items of a history that coarse transitions look at
CLOSE: Final = 30  # items of a history that fine transitions look at
LIKED: Final = 100  # items of a history that EASE looks at
ALIKE: Final = 50  # items of a history that co-occurrence looks at
PRODUCT: Final = 10  # items of a history in products of transition probabilities
SHRINK: Final = 20.0  # added to the popularity of an item before its transitions are divided by it
PRIOR: Final = 5.0  # pseudo-transitions that follow popularity
NEIGHBOUR_ITEMS: Final = 20  # last items of a neighbour that count as votes

COARSE: Final[dict[str, str]] = {
    "followed 1.5": "transitions",
    "followed 5": "transitions",
    "followed 20": "transitions",
    "preceded 5": "transitions",
    "likes 5": "collaborative",
    "likes 15": "collaborative",
    "likes 50": "collaborative",
    "likes all": "collaborative",
    "passages 2": "sequences",
    "passages 4": "sequences",
    "content 5": "content",
    "popularity": "popularity",
}
"""Coarse features and the source that each belongs to. "collaborative" is EASE, or ItemKNN where P is not kept."""

FINE: Final[tuple[str, ...]] = (
    *COARSE,
    "followed broad",
    "preceded 1.5",
    "preceded 20",
    "preceded broad",
    "next",
    "previous",
    "after 10",
    "before 10",
    "direction",
    "product 3",
    "product 10",
    "product both 5",
    "together 15",
    "together 3",
    "content 1",
    "content max",
    "neighbours",
    "recent 1",
    "recent 3",
    "age",
    "query length",
    "query last popularity",
    "query mean popularity",
)
"""Fine features. The last three say nothing of the item, but how to read the others."""


@dataclass(frozen=True, slots=True)
class View:
    """What is computed once for a query: coarse features [n, COARSE], and what fine features need besides."""

    query: Query
    coarse: Floats
    popularity: Floats


class Features:
    """Computes features from statistics and item vectors.

    ``vectors`` are unit item vectors, float32 [n, d], n at least ``statistics.n_items``.
    """

    def __init__(
        self, statistics: Statistics, vectors: npt.NDArray[np.float32], similarity: TextSimilarity | None = None
    ) -> None:
        self.statistics = statistics
        self._all_vectors = vectors
        self._text_similarity = similarity or TextSimilarity()
        self.n_items = min(statistics.n_items, len(vectors))
        self.vectors = vectors[: self.n_items]

    def view(self, query: Query) -> View:
        """Coarse features of every item. The query must have a positive."""
        liked = query.positives["item"]
        popularity = self.statistics.popularity.total[: self.n_items].astype(np.float64)
        columns = [
            *self._followed(liked, popularity),
            *self._likes(liked),
            *self._passages(liked),
            self._content(liked),
            np.log(popularity + 1.0),
        ]
        return View(query, np.round(np.stack(columns, axis=1), DECIMALS), popularity)

    def fine(self, view: View, items: Items, neighbours: Sequence[History]) -> Floats:
        """Fine features of some items, [items, FINE]."""
        liked = view.query.positives["item"]
        columns = [
            *self._transitions(liked, view.popularity, items),
            *self._together(liked, view.popularity, items),
            *self._similarity(liked, items),
            _neighbour_votes(neighbours, self.n_items)[items],
            *self._recency(view, items),
            *_context(liked, view.popularity, len(items)),
        ]
        return np.concatenate([view.coarse[items], np.round(np.stack(columns, axis=1), DECIMALS)], axis=1)

    def _followed(self, liked: Items, popularity: Floats) -> list[Floats]:
        recent = liked[-RECENT:]
        share = 1.0 / (popularity[recent] + SHRINK) / LAG_UNIT
        weights = np.stack([half_life(len(recent), life) * share for life in (1.5, 5.0, 20.0)])
        transitions = self.statistics.transitions
        followed = transitions["followed"].weighted_sum(recent, weights)[:, : self.n_items]
        preceded = transitions["preceded"].weighted_sum(recent, weights[1:2])[:, : self.n_items]
        return list(np.log(np.concatenate([followed, preceded]) + 1e-4))

    def _likes(self, liked: Items) -> list[Floats]:
        """Recency-weighted EASE; cosine ItemKNN from the exact sparse counts where P is not kept."""
        taken = liked[-LIKED:]
        weights = np.stack([half_life(len(taken), life) for life in (5.0, 15.0, 50.0, np.inf)])
        inverse = self.statistics.inverse
        if inverse is not None:
            matrix, diagonal = inverse.held
            scores = -(weights @ matrix[taken, : self.n_items]) / diagonal[: self.n_items]
        else:
            popularity = self.statistics.popularity.total.astype(np.float64) + 10.0
            sums = self.statistics.together.weighted_sum(taken, weights / np.sqrt(popularity[taken]))
            scores = (sums / np.sqrt(popularity[: sums.shape[1]]))[:, : self.n_items]
        return list(scores)

    def _passages(self, liked: Items) -> list[Floats]:
        votes = self.statistics.sequences.votes(liked, self.n_items)
        share = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1.0)
        return list(np.log(share + 1e-4))

    def _content(self, liked: Items) -> Floats:
        return self._text_similarity.mean(self._all_vectors, liked[-5:].tolist())[: self.n_items]

    def _similarity(self, liked: Items, items: Items) -> list[Floats]:
        """Text similarity to the last item, and the highest one to any recent item."""
        similarity = (self.vectors[items] @ self.vectors[liked[-PRODUCT:]].T).astype(np.float64)
        return [similarity[:, -1], similarity.max(axis=1)]

    def _transitions(self, liked: Items, popularity: Floats, items: Items) -> list[Floats]:
        recent = liked[-CLOSE:]
        share = 1.0 / (popularity[recent] + SHRINK)
        matrices = self.statistics.transitions
        followed, preceded = (matrices[name].block(recent, items) / LAG_UNIT for name in ("followed", "preceded"))
        after, before = (matrices[name].block(recent, items) for name in ("after", "before"))
        step = [matrices[name].block(liked[-1:], items)[0] * share[-1] for name in ("next", "previous")]
        decay5, decay10 = half_life(len(recent), 5.0), half_life(len(recent), 10.0)
        total = [row[-20:].sum(axis=0) for row in (after, before)]
        return [
            np.log(decay5 * np.sqrt(share) @ followed + 1e-3),
            np.log(half_life(len(recent), 1.5) * share @ preceded + 1e-4),
            np.log(half_life(len(recent), 20.0) * share @ preceded + 1e-4),
            np.log(decay5 * np.sqrt(share) @ preceded + 1e-3),
            *(np.log(each + 1e-4) for each in step),
            np.log(decay10 * share @ after + 1e-4),
            np.log(decay10 * share @ before + 1e-4),
            np.log((total[0] + 1.0) / (total[1] + 1.0)),
            *_products(followed[-PRODUCT:], preceded[-PRODUCT:], popularity, recent[-PRODUCT:], items),
        ]

    def _together(self, liked: Items, popularity: Floats, items: Items) -> list[Floats]:
        taken = liked[-ALIKE:]
        scale = np.sqrt(np.outer(popularity[taken] + 10.0, popularity[items] + 10.0))
        cosine = self.statistics.together.block(taken, items) / scale
        return [half_life(len(taken), 15.0) @ cosine, np.log(half_life(len(taken), 3.0) @ cosine + 1e-2)]

    def _recency(self, view: View, items: Items) -> list[Floats]:
        now, popularity = view.query.reference_time, view.popularity[items]
        counts = [self.statistics.popularity.recent(now, periods, items) for periods in (2, 4)]
        age = self.statistics.popularity.age(now, items)
        return [*(np.log((count + 1.0) / (popularity + 1.0)) for count in counts), age]


def half_life(n: int, life: float) -> Floats:
    """Weights of n items, oldest first: 1 for the newest, halved every ``life`` items."""
    return np.asarray(0.5 ** (np.arange(n - 1, -1, -1) / life), dtype=np.float64)


def _products(followed: Floats, preceded: Floats, popularity: Floats, recent: Items, items: Items) -> list[Floats]:
    """Weighted log-ratios of smoothed transition probabilities to popularity: products of experts."""
    background = (popularity + 1.0) / (popularity.sum() + len(popularity))
    expected = PRIOR * background[items]
    # An item is followed by WINDOW others with weights 1/lag, so this is how much follows it in all.
    total = popularity[recent][:, None] * sum(1.0 / lag for lag in range(1, WINDOW + 1)) + PRIOR
    forward = np.log((followed + expected) / (total * background[items]))
    both = np.log((followed + preceded + expected) / (2.0 * total * background[items]))
    return [half_life(len(recent), life) @ ratio for life, ratio in ((3.0, forward), (10.0, forward), (5.0, both))]


def _neighbour_votes(neighbours: Sequence[History], n_items: int) -> Floats:
    if not neighbours:
        return np.zeros(n_items)
    items = np.concatenate([history["item"][-NEIGHBOUR_ITEMS:] for history in neighbours])
    return np.asarray(np.log(np.bincount(items, minlength=n_items)[:n_items] + 1.0), dtype=np.float64)


def _context(liked: Items, popularity: Floats, count: int) -> list[Floats]:
    recent = liked[-RECENT:]
    weights = half_life(len(recent), 20.0)
    levels = np.log(popularity[recent] + 1.0)
    values = (np.log(len(liked)), levels[-1], float(weights @ levels / weights.sum()))
    return [np.full(count, value) for value in values]
