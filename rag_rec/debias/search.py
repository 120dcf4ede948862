"""Finds what is to go from an adapter, and how far, in rounds of a mask, a removal and a line search.

First-order predictions are too large where the weights move far, so the removal goes in rounds: each takes the scores
at the weights that the one before left, masks a part of what may go, and tries lengths of its step on people whose
choices were not learned. A round that makes nothing fairer on them within the budget is the last.

What is made fairer is what the generator says, by itself. Were it the served order, in which the candidates weigh more,
the generator would be bent as far as to make up for their unfairness, and be good for nothing else. The served order
decides over what may be lost: a step has to keep its NDCG, and how likely it makes what people chose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from torch import Tensor

from rag_rec.compact.adapter import Deltas
from rag_rec.debias.linear import Linear
from rag_rec.debias.mask import Flags, Mask, Scores, mask, path
from rag_rec.debias.order import FusedOrder, Wanted, accuracy, accuracy_slope
from rag_rec.debias.questions import Questions
from rag_rec.errors import InvalidInput
from rag_rec.fairness.controlling import Aim
from rag_rec.fairness.groups import Numbers
from rag_rec.fairness.served import Served
from rag_rec.influence.vectors import Vector, add, dot, scaled

LENGTHS: Final = (0.25, 0.5, 1.0, 2.0)
"""Of a step: the theory has 1, from which it is wrong by as much as the loss is not quadratic."""
SHARES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
"""Of all samples, for the path from fairness to accuracy."""
SLACK: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a debiasing may go.

    Attributes:
        most: the largest share of the samples that may go.
        budget: the largest loss of NDCG, as a share; and by how many nats the answers may be less likely.
        rounds: the most rounds; each masks an equal part of what may go.
        tied: whether a person goes with all samples or with none.
        sparsity: what share of the unfairness every hundredth of the samples has to take at least, to first order.
    """

    most: float = 0.1
    budget: float = 0.01
    rounds: int = 3
    tied: bool = False
    sparsity: float = 0.0

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing to do."""
        if not 0.0 < self.most < 1.0:
            raise InvalidInput(f"The share that may be removed is {self.most}; it must be above 0 and below 1.")
        if not 0.0 <= self.budget < 1.0:
            raise InvalidInput(f"The accuracy budget is {self.budget}; it must be at least 0 and below 1.")
        if not 0.0 <= self.sparsity < math.inf:
            raise InvalidInput(f"The sparsity is {self.sparsity}; it must be at least 0.")
        if self.rounds < 1:
            raise InvalidInput(f"rounds is {self.rounds}; it must be at least 1.")


@dataclass(frozen=True, slots=True)
class Point:
    """A place of the path: so many samples go, with these changes predicted to first order."""

    share: float
    count: int
    unfairness: float
    loss: float


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did.

    Attributes:
        count: samples that were masked.
        length: of the step that was taken, in steps of the theory; 0 where none was.
        predicted: by how much each figure was to come nearer to fair (below 0) or go, smooth and to first order.
        gaps: how far each figure is from fair after the round, on the people it was tried on, by the generator alone.
        accuracy: NDCG of the same lists.
        path: what masks of other sizes were predicted to do.
    """

    count: int
    length: float
    predicted: Mapping[str, float]
    gaps: Mapping[str, float]
    accuracy: float
    path: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Where a search came to.

    Attributes:
        deltas: the adapter's differences.
        rows: what went, bool [samples].
        rounds: what was done, at least one.
        before: how far each figure was from fair on the people it was tried on.
        predicted: of all rounds together.
    """

    deltas: Deltas
    rows: Flags
    rounds: tuple[Round, ...]
    before: Mapping[str, float]
    predicted: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Shown:
    """The lists at some differences: those that are served, with how likely they make what people chose, in nats, and
    those of the generator alone."""

    served: Served
    accuracy: float
    alone: Served


@dataclass(frozen=True, slots=True)
class Search:
    """A search on one group of people.

    Attributes:
        questions: about them.
        order: that is served to them.
        alone: the order by the generator alone.
        wanted: what is to be made fairer.
        person: whose each sample is, int64 [samples].
        protected: whether it may not go, bool [samples].
        limits: how far it may go.
        fits: makes differences those that an adapter of the rank in use has.
    """

    questions: Questions
    order: FusedOrder
    alone: FusedOrder
    wanted: Wanted
    person: Numbers
    protected: Flags
    limits: Limits
    fits: Callable[[Vector], dict[str, Tensor]]

    def run(self, at: Callable[[Vector], Linear], deltas: Deltas) -> Found:
        """Search from some differences.

        Args:
            at: the samples and the solves at some differences.
            deltas: to begin with.

        Raises:
            InvalidInput: nothing is unfair, or a solve diverged.
        """
        first = self._shown(deltas)
        before = self.wanted.gaps(first.alone)
        if not any(before.values()):
            raise InvalidInput("Nothing is to be made fairer: every figure is fair already.")
        gone, rounds = np.zeros(len(self.person), dtype=np.bool_), list[Round]()
        predicted = dict.fromkeys(before, 0.0)
        for _ in range(self.limits.rounds):
            masked, done, found = self._round(at(deltas), deltas, gone, first, before)
            rounds.append(done)
            if not done.length:
                break
            deltas, gone = found, gone | masked.rows
            predicted = {name: value + done.predicted[name] for name, value in predicted.items()}
        return Found(deltas, gone, tuple(rounds), before, predicted)

    def _round(
        self, linear: Linear, deltas: Deltas, gone: Flags, first: Shown, before: Mapping[str, float]
    ) -> tuple[Mask, Round, dict[str, Tensor]]:
        opinions = self.questions.opinions(deltas)
        slopes = self.wanted.slopes(self.alone, opinions)
        gradients = {name: self.questions.back(deltas, slope) for name, slope in slopes.items()}
        towards = self._towards(gradients, before)
        kept = self.questions.back(deltas, accuracy_slope(self.order, opinions))
        unfairness, loss = linear.scores(towards), linear.scores(scaled(kept, -1.0))
        scores = Scores(unfairness, loss, self.person, self.protected | gone, self.limits.tied)
        samples, budget = len(gone), self.limits.budget
        most = max(1, math.ceil(self.limits.most * samples / self.limits.rounds))
        price = 100.0 * self.limits.sparsity / samples
        found = mask(scores, most, budget, price)
        step = linear.step(found.rows)
        length, moved = self._longest(deltas, step, first, before)
        counts = [max(1, int(share * samples)) for share in SHARES]
        others = path(scores, counts, budget, price)
        points = [
            Point(share, each.count, each.unfairness, each.loss) for share, each in zip(SHARES, others, strict=True)
        ]
        told = {name: length * dot(gradients[name], step) for name in before}
        shown = self._shown(moved)
        gaps, gain = self.wanted.gaps(shown.alone), float(shown.alone.gains.mean())
        return found, Round(found.count, length, told, gaps, gain, tuple(points)), moved

    def _towards(self, gradients: Mapping[str, Vector], before: Mapping[str, float]) -> dict[str, Tensor]:
        """The gradient of what is made small, see :meth:`rag_rec.debias.order.Wanted.value`."""
        total, parts = sum(self.wanted.weights), list[dict[str, Tensor]]()
        for figure, weight in zip(self.wanted.figures, self.wanted.weights, strict=True):
            parts.append(scaled(gradients[figure.name], weight / total / (before[figure.name] or 1.0)))
        return reduce(add, parts)

    def _longest(
        self, deltas: Deltas, step: Vector, first: Shown, before: Mapping[str, float]
    ) -> tuple[float, dict[str, Tensor]]:
        """The length of the step that makes the lists fairest within the budget, and where it leads; 0 for none."""
        aim = Aim(self.wanted.figures, self.limits.budget, caution=0.0)  # the verdict asks for certainty, on others
        best = self.wanted.value(self.wanted.gaps(self._shown(deltas).alone), before)
        found: tuple[float, dict[str, Tensor]] = (0.0, dict(deltas))
        for length in LENGTHS:
            moved = self.fits(add(deltas, step, length))
            shown = self._shown(moved)
            value = self.wanted.value(self.wanted.gaps(shown.alone), before)
            kept = first.accuracy - shown.accuracy <= self.limits.budget
            if value < best - SLACK and kept and aim.affordable(first.served.gains, shown.served.gains):
                best, found = value, (length, moved)
        return found

    def _shown(self, deltas: Vector) -> Shown:
        opinions = self.questions.opinions(deltas)
        told = float(accuracy(self.order, opinions))
        return Shown(self.order.served(opinions), told, self.alone.served(opinions))
