"""What a figure of fairness is: a number of served lists, and a smooth likeness of it that a training can push on.

A metric of one's own is a class with these members; nothing else has to know of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from rag_rec.evaluation.bootstrap import interval_of
from rag_rec.fairness.groups import Counts, Numbers
from rag_rec.fairness.served import Floats, Served


class Metric(Protocol):
    """A figure of fairness."""

    @property
    def name(self) -> str:
        """Of the figure, as commands and reports call it."""

    @property
    def fair(self) -> float:
        """The value of lists that favour no group; the further a figure is from it, the less fair it is."""

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest that the figure can be."""

    def of(self, served: Served) -> float:
        """The figure of served lists."""

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """A differentiable likeness of the figure, a scalar that moves with it.

        Args:
            likely: how likely each item is shown to each person, float [people, items]; rows sum to 1.
            served: the same people, for their groups and choices; its lists are not looked at.
        """


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure of fairness of some lists, beside what it could be.

    Attributes:
        value: of the lists.
        interval: a 95 % bootstrap interval over people, less the bias of drawing some of them twice.
        fair: the value of lists that favour no group.
        span: the least and the greatest that it can be.
        random: of lists of items drawn at random: a figure may be far from fair for want of people alone.
        popular: of the most popular items shown to everybody.
    """

    value: float
    interval: tuple[float, float]
    fair: float
    span: tuple[float, float]
    random: float
    popular: float

    @property
    def gap(self) -> float:
        """How far it is from fair."""
        return abs(self.value - self.fair)


def measured(metric: Metric, served: Served, popularity: Counts, seed: int) -> Measured:
    """Measure some lists.

    Args:
        metric: to measure by.
        served: the lists.
        popularity: how many people liked each item, integers [items].
        seed: of the interval and of the lists drawn at random.
    """
    drawn, best = _random(served, seed), _popular(served, popularity)
    low, high = interval_of(partial(_each, metric, served), [_people(served)], seed, centred=True)
    least, greatest = metric.span
    return Measured(
        metric.of(served),
        (max(low, least), min(high, greatest)),
        metric.fair,
        metric.span,
        metric.of(drawn),
        metric.of(best),
    )


def change(metric: Metric, before: Served, after: Served, seed: int) -> tuple[float, tuple[float, float]]:
    """By how much the distance from fair changed between two sets of lists of the same people, with its interval.

    Negative is fairer. The same people are drawn from both.
    """

    def statistic(rows: Any, axis: int = -1) -> Any:
        old, new = (_each(metric, lists, rows, axis) for lists in (before, after))
        return np.abs(new - metric.fair) - np.abs(old - metric.fair)

    rows = _people(before)
    return float(statistic(rows)), interval_of(statistic, [rows], seed, centred=True)


def _people(served: Served) -> Floats:
    """The numbers of the rows, as the bootstrap takes its values."""
    return np.arange(len(served.lists), dtype=np.float64)


def _each(metric: Metric, served: Served, rows: Any, axis: int = -1) -> Any:
    """The figure of each draw of people; rows are their numbers [..., n]."""
    drawn = np.moveaxis(np.asarray(rows, dtype=np.int64), axis, -1)
    found = [metric.of(served.taken(each)) for each in drawn.reshape(-1, drawn.shape[-1])]
    return np.array(found).reshape(drawn.shape[:-1])


def _random(served: Served, seed: int) -> Served:
    draws, (people, length) = np.random.default_rng(seed), served.lists.shape
    lists: Numbers = np.stack([draws.choice(served.items, min(length, served.items), False) for _ in range(people)])
    return Served(lists, served.chosen, served.who, served.items)


def _popular(served: Served, popularity: Counts) -> Served:
    best = np.argsort(-popularity, kind="stable")[: served.lists.shape[1]]
    return Served(np.tile(best, (len(served.lists), 1)), served.chosen, served.who, served.items)
