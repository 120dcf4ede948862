"""The side of the items: who is shown how often, against who is liked how often."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rag_rec.fairness.groups import NONE, Counts, Groups
from rag_rec.fairness.served import NO_ITEM, Floats, Served, shares
from rag_rec.fairness.soft import places


@dataclass(frozen=True)
class Share:
    """The share of the places that one group of items has: ``popularity`` is that of the head.

    Attributes:
        name: of the figure.
        groups: of items.
        fair: the group's share of what people choose, of their histories or of their answers.
        group: its number.
    """

    name: str
    groups: Groups
    fair: float
    group: int = 0
    span: tuple[float, float] = (0.0, 1.0)

    def of(self, served: Served) -> float:
        """Of all places."""
        return float(shares(served.shown, self.groups)[self.group])

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """Of how far each item is in a list."""
        return _soft_shares(likely, served, self.groups)[self.group]


@dataclass(frozen=True)
class TailShare:
    """APLT: the mean over people of the share of their list that is not of the head.

    Abdollahpouri, Burke and Mobasher, "Managing Popularity Bias in Recommender Systems with Personalized Re-ranking",
    FLAIRS 2019, arXiv 1901.07555. Where all lists are of one length it is what the head's share leaves.

    Attributes:
        groups: of which number 0 is the head.
        fair: the share of what people choose that is not of the head.
    """

    groups: Groups
    fair: float
    name: str = "aplt"
    span: tuple[float, float] = (0.0, 1.0)

    def of(self, served: Served) -> float:
        """Lists without an item count for nothing."""
        there = served.lists != NO_ITEM
        tail = (self.groups.of[served.lists] != 0) & there
        length = there.sum(axis=1)
        return float((tail.sum(axis=1)[length > 0] / length[length > 0]).mean()) if length.any() else 0.0

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """Of how far each item is in a list."""
        return 1.0 - _soft_shares(likely, served, self.groups)[0]


@dataclass(frozen=True)
class MeanPopularity:
    """ARP: how popular what is shown is on the mean, in people (Abdollahpouri et al., arXiv 1901.07555).

    Attributes:
        popularity: how many people liked each item, integers [items].
        fair: how popular what people choose is on the mean.
    """

    popularity: Counts
    fair: float
    name: str = "arp"

    @property
    def span(self) -> tuple[float, float]:
        """The least and the most popular item."""
        return float(self.popularity.min()), float(self.popularity.max())

    def of(self, served: Served) -> float:
        """Over all places."""
        shown = served.shown
        return float(self.popularity[shown].mean()) if len(shown) else 0.0

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """Of how far each item is in a list."""
        shown = _soft_exposure(likely, served)
        return shown @ torch.as_tensor(self.popularity, dtype=likely.dtype) / shown.sum()


@dataclass(frozen=True)
class GroupUnfairness:
    """MGU or DGU: how far the groups' shares of the places are from their shares elsewhere.

    The unfairness of a group is its share of the places less that of a reference; MGU is the mean of what it is
    without its sign, DGU the greatest less the smallest. Jiang et al. ("Item-side Fairness of Large Language
    Model-based Recommendation System", arXiv 2402.15215) take people's histories for the reference. Against what people
    choose next it is another figure: name the two apart.

    Attributes:
        name: of the figure, with the reference: ``mgu histories``.
        groups: of items: by popularity, by category, by provider.
        reference: share of each group, float64 [groups].
        spread: DGU in place of MGU.
    """

    name: str
    groups: Groups
    reference: Floats
    spread: bool = False
    fair: float = 0.0

    @cached_property
    def span(self) -> tuple[float, float]:
        """All places to one group is the worst: to the one that has least elsewhere."""
        alone = np.eye(len(self.groups)) - self.reference
        return 0.0, float(max(_apart(each, self.spread) for each in alone))

    def of(self, served: Served) -> float:
        """Of all places."""
        return float(_apart(shares(served.shown, self.groups) - self.reference, self.spread))

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """Of how far each item is in a list."""
        away = _soft_shares(likely, served, self.groups) - torch.as_tensor(self.reference, dtype=likely.dtype)
        return away.max() - away.min() if self.spread else away.abs().mean()


@dataclass(frozen=True)
class Gini:
    """The Gini coefficient of how often each item is shown: 0 where all are shown alike, near 1 where one is."""

    name: str = "gini"
    fair: float = 0.0
    span: tuple[float, float] = (0.0, 1.0)

    def of(self, served: Served) -> float:
        """Over the whole catalogue."""
        return gini(served.exposure)

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """Of how far each item is in a list."""
        ascending = torch.sort(_soft_exposure(likely, served)).values
        weights = 2 * torch.arange(1, len(ascending) + 1, dtype=likely.dtype) - len(ascending) - 1
        return weights @ ascending / (len(ascending) * ascending.sum())


@dataclass(frozen=True)
class Coverage:
    """The share of the catalogue that is shown to anybody."""

    name: str = "coverage"
    fair: float = 1.0
    span: tuple[float, float] = (0.0, 1.0)

    def of(self, served: Served) -> float:
        """Of the lists together: more people cover more."""
        return float((served.exposure > 0).mean())

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        """The share to be expected if each item were in each list by chance, as far as it is in."""
        return (1.0 - torch.exp(-_soft_exposure(likely, served))).mean()


def gini(exposure: Counts) -> float:
    """The Gini coefficient of how often each item is shown; 0 where nothing is."""
    ascending = np.sort(exposure).astype(np.float64)
    total = ascending.sum()
    if not total:
        return 0.0
    places = np.arange(1, len(ascending) + 1)
    return float((2 * places - len(ascending) - 1) @ ascending / (len(ascending) * total))


def _apart(away: Floats, spread: bool) -> float:
    return float(away.max() - away.min()) if spread else float(np.abs(away).mean())


def _soft_exposure(likely: Tensor, served: Served) -> Tensor:
    """In how many lists each item is, made smooth; float [items]."""
    return places(likely, served.lists.shape[1]).sum(dim=0)


def _soft_shares(likely: Tensor, served: Served, groups: Groups) -> Tensor:
    """The share of each group, of the places with an item that is in one; float [groups]."""
    shown = _soft_exposure(likely, served)
    inside = torch.stack([shown[torch.as_tensor(groups.of == group)].sum() for group in range(len(groups))])
    return inside / shown[torch.as_tensor(groups.of != NONE)].sum()
