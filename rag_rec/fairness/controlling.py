"""Learns how far groups of items are held back: as fair as an accuracy budget allows, and no further.

The figures are those of the lists themselves, which jump, so the search takes steps along one strength at a time, each
step half as long as the one before once nothing is gained. A step counts only where the loss of NDCG stays in
the budget by one standard error of the people who were asked (:data:`CAUTION`). What was learned is judged by
cross-fitting: everybody's list is made with strengths that were learned from others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rag_rec.errors import InvalidInput
from rag_rec.fairness.groups import Numbers
from rag_rec.fairness.metric import Metric
from rag_rec.fairness.served import NO_ITEM, Floats, Served

FOLDS: Final = 5
CAUTION: Final = 1.0
HALVINGS: Final = 6
MOST: Final = 4.0
"""The longest step, and the greatest strength by ten times it, in standard deviations of a person's scores."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order of candidates that may be changed.

    Attributes:
        items: item numbers, int64 [people, n]; :data:`NO_ITEM` where there is none.
        scores: float64 [people, n]; -inf where there is no item.
        groups: of each item, for every kind of groups, int64 [kinds, people, n].
        chosen: what each person chose, int64 [people].
        who: places of these people among all whose groups are known, int64 [people].
        count: of all items.
        length: of a list.
    """

    items: Numbers
    scores: Floats
    groups: Numbers
    chosen: Numbers
    who: Numbers
    count: int
    length: int

    def taken(self, rows: Numbers) -> Order:
        """Of some of the people."""
        return Order(
            self.items[rows],
            self.scores[rows],
            self.groups[:, rows],
            self.chosen[rows],
            self.who[rows],
            self.count,
            self.length,
        )

    def served(self, strengths: Sequence[Floats] = ()) -> Served:
        """The lists with each kind of groups held back; strengths are float64 [groups] for each kind."""
        scores = self.scores
        for of, held in zip(self.groups, strengths, strict=False):
            scores = scores - np.append(held, 0.0)[of]
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.length]
        lists = np.take_along_axis(self.items, best, axis=1)
        lists = np.where(np.isfinite(np.take_along_axis(scores, best, axis=1)), lists, NO_ITEM)
        return Served(lists, self.chosen, self.who, self.count)

    @property
    def unit(self) -> float:
        """The median over people of the standard deviation of their scores."""
        spread = [row[np.isfinite(row)].std() for row in self.scores]
        return float(np.median(spread)) or 1.0


@dataclass(frozen=True, slots=True)
class Aim:
    """What the strengths are learned for.

    Attributes:
        figures: of fairness; the mean of how far each is from fair, by how far it was, is made small.
        budget: the largest loss of NDCG, as a share.
        caution: by how many standard errors the loss has to stay within it.
    """

    figures: Sequence[Metric]
    budget: float
    caution: float = CAUTION

    def __post_init__(self) -> None:
        """Refuse what nothing can be learned for."""
        if not self.figures:
            raise InvalidInput("No figure of fairness was named: name at least one, such as `popularity`.")
        if not 0.0 <= self.budget < 1.0:
            raise InvalidInput(f"The accuracy budget is {self.budget}; it must be at least 0 and below 1.")

    def gaps(self, served: Served) -> Floats:
        """How far each figure is from fair, float64 [figures]."""
        return np.array([abs(figure.of(served) - figure.fair) for figure in self.figures])

    def affordable(self, before: Floats, after: Floats) -> bool:
        """Whether the loss stays in the budget by the caution; gains float64 [people]."""
        lost = before - after
        error = float(lost.std(ddof=1)) / len(lost) ** 0.5 if len(lost) > 1 else 0.0
        return float(lost.mean()) + self.caution * error <= self.budget * float(before.mean()) or not lost.any()


def learned(order: Order, aim: Aim, groups: Sequence[int]) -> list[Floats]:
    """Strengths of each kind of groups, at least 0.

    Args:
        order: of the people to learn from.
        aim: what for.
        groups: how many there are of each kind.
    """
    search = _Search(order, aim)
    found = [np.zeros(count) for count in groups]
    step = MOST * order.unit
    for _ in range(HALVINGS):
        while search.sweep(found, step):
            pass
        step /= 2.0
    return [np.round(each, 6) for each in found]


def cross_fitted(order: Order, aim: Aim, groups: Sequence[int], seed: int) -> Served:
    """The lists of everybody with strengths that were learned from others; arguments as of :func:`learned`."""
    part_of = np.random.default_rng(seed).permutation(len(order.chosen)) % FOLDS
    lists = order.served().lists.copy()
    for part in range(FOLDS):
        judged, chosen = np.flatnonzero(part_of == part), np.flatnonzero(part_of != part)
        strengths = learned(order.taken(chosen), aim, groups)
        lists[judged] = order.taken(judged).served(strengths).lists
    return Served(lists, order.chosen, order.who, order.count)


class _Search:
    """A search by coordinates: the figures of lists have no derivatives."""

    def __init__(self, order: Order, aim: Aim) -> None:
        self._order = order
        self._aim = aim
        before = order.served()
        self._gains = before.gains
        gaps = aim.gaps(before)
        self._scale = np.where(gaps > 0, gaps, 1.0) * len(gaps)
        self._best = float((gaps / self._scale).sum())
        self._most = 10.0 * MOST * order.unit

    def sweep(self, strengths: list[Floats], step: float) -> bool:
        """Try a step up and one down along each strength; whether any was taken. Strengths are changed in place."""
        moved = False
        for kind in strengths:
            for place in range(len(kind)):
                moved |= any(self._taken(strengths, kind, place, change) for change in (step, -step))
        return moved

    def _taken(self, strengths: list[Floats], kind: Floats, place: int, change: float) -> bool:
        old = kind[place]
        if not 0.0 <= old + change <= self._most:
            return False
        kind[place] = old + change
        served = self._order.served(strengths)
        value = float((self._aim.gaps(served) / self._scale).sum())
        if value < self._best - 1e-9 and self._aim.affordable(self._gains, served.gains):
            self._best = value
            return True
        kind[place] = old
        return False
