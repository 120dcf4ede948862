"""The side of the people: whether groups of them are served equally well, and shown the same.

With more than two groups a gap is that between the best and the worst. A group without a person among the lists is left
out of the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from rag_rec.fairness.groups import NONE, Groups, Numbers
from rag_rec.fairness.served import NO_ITEM, Floats, Served, shares
from rag_rec.fairness.soft import places, ranks

LEAST: Final = 10
"""People in a group that is to be compared."""


@dataclass(frozen=True)
class AccuracyGap:
    """By how much groups of people differ in NDCG; with ``hits``, in how often what they choose is in their list.

    The latter is equal opportunity in the sense of Hardt, Price and Srebro (NeurIPS 2016, arXiv 1610.02413): of those
    who would choose an item, as many are shown it in each group.

    Raises:
        InvalidInput: there are no two groups with enough people.
    """

    name: str
    people: Groups
    hits: bool = False
    fair: float = 0.0
    span: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse groups that cannot be compared."""
        self.people.require(LEAST, self.name)

    def of(self, served: Served) -> float:
        """Between the best and the worst group."""
        reached = served.hits if self.hits else served.gains
        return _spread([float(reached[rows].mean()) for rows in _rows(self.people, served)])

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """Of soft ranks: each item counts by how much more likely it is than the answer."""
        found = ranks(likely, served.chosen)
        near = torch.sigmoid(served.lists.shape[1] - 0.5 - found)
        reached = near if self.hits else near / torch.log2(found + 2.0)
        return _soft_spread(torch.stack([reached[torch.as_tensor(rows)].mean() for rows in _rows(self.people, served)]))


@dataclass(frozen=True)
class ExposureGap:
    """Demographic parity of exposure: by how much what groups of people are shown differs.

    The total variation distance between the shares of groups of items: which part of the places would have to go to
    other groups of items. With few people single items differ by chance: choose few groups of items, and look at
    the figure of lists drawn at random.

    Attributes:
        name: of the figure.
        people: groups of people.
        items: groups of items, such as categories or bands of popularity.
    """

    name: str
    people: Groups
    items: Groups
    fair: float = 0.0
    span: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse groups that cannot be compared."""
        self.people.require(LEAST, self.name)

    def of(self, served: Served) -> float:
        """Between the two groups that differ most."""
        shown = [shares(served.taken(rows).shown, self.items) for rows in _rows(self.people, served)]
        return max((float(np.abs(a - b).sum() / 2.0) for a, b in _pairs(shown)), default=0.0)

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """Of how far each item is in a list."""
        inside = torch.as_tensor(self.items.of[:, None] == np.arange(len(self.items)), dtype=likely.dtype)
        each = places(likely, served.lists.shape[1]) @ inside
        shown = [each[torch.as_tensor(rows)].sum(dim=0) for rows in _rows(self.people, served)]
        apart = [(a / a.sum() - b / b.sum()).abs().sum() / 2.0 for a, b in _pairs(shown)]
        return torch.stack(apart).max() if apart else likely.sum() * 0.0


@dataclass(frozen=True)
class CalibrationGap:
    """By how much groups of people differ in how well their lists keep to the categories of their histories.

    A person's miscalibration is the total variation distance between the shares of the categories in the list and in
    the history (Steck, "Calibrated Recommendations", RecSys 2018, takes a divergence of the same shares, which has no
    upper bound).

    Attributes:
        name: of the figure.
        people: groups of people.
        items: categories.
        histories: share of each category in each person's history, float64 [all people, categories].
    """

    name: str
    people: Groups
    items: Groups
    histories: Floats
    fair: float = 0.0
    span: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse groups that cannot be compared."""
        self.people.require(LEAST, self.name)

    def of(self, served: Served) -> float:
        """Between the best and the worst group."""
        missed = np.abs(self._listed(served) - self.histories[served.who]).sum(axis=1) / 2.0
        return _spread([float(missed[rows].mean()) for rows in _rows(self.people, served)])

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """Of how far each person's categories are in the list."""
        inside = torch.as_tensor(self.items.of[:, None] == np.arange(len(self.items)), dtype=likely.dtype)
        each = places(likely, served.lists.shape[1]) @ inside
        each = each / each.sum(dim=1, keepdim=True)
        missed = (each - torch.as_tensor(self.histories[served.who], dtype=likely.dtype)).abs().sum(dim=1) / 2.0
        return _soft_spread(torch.stack([missed[torch.as_tensor(rows)].mean() for rows in _rows(self.people, served)]))

    def _listed(self, served: Served) -> Floats:
        of = np.where(served.lists == NO_ITEM, NONE, self.items.of[served.lists])
        counts = (of[:, :, None] == np.arange(len(self.items))).sum(axis=1).astype(np.float64)
        return np.asarray(counts / np.maximum(1.0, counts.sum(axis=1, keepdims=True)))


def _rows(people: Groups, served: Served) -> Iterator[Numbers]:
    """The rows of each group that has anybody."""
    of = people.of[served.who]
    found = (np.flatnonzero(of == group) for group in range(len(people)))
    return (rows for rows in found if len(rows))


def _spread(values: list[float]) -> float:
    return max(values) - min(values) if values else 0.0


def _soft_spread(values: Tensor) -> Tensor:
    return values.max() - values.min()


def _pairs(values: list[Any]) -> Iterator[tuple[Any, Any]]:
    return ((a, b) for place, a in enumerate(values) for b in values[:place])
