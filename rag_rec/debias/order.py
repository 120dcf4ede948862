"""The order that is served as a function of the generator's opinions: as lists, and smooth with derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rag_rec.debias.mask import Flags
from rag_rec.fairness.controlling import Order
from rag_rec.fairness.groups import Numbers
from rag_rec.fairness.metric import Metric
from rag_rec.fairness.served import NO_ITEM, Floats, Served


@dataclass(frozen=True, slots=True)
class FusedOrder:
    """Candidates of some people, and how their scores and the opinions of a generator make the order.

    Attributes:
        order: the candidates, with the scores of the candidate model; see :class:`rag_rec.fairness.controlling.Order`.
        weight: of the candidates' scores.
        held: by how much each candidate is held back, float64 [people, n].
    """

    order: Order
    weight: float
    held: Floats

    def taken(self, rows: Numbers) -> FusedOrder:
        """Of some of the people."""
        return FusedOrder(self.order.taken(rows), self.weight, self.held[rows])

    def served(self, opinions: Tensor | Floats) -> Served:
        """The lists, from opinions [people, n]."""
        given = np.where(self._there, np.asarray(opinions, dtype=np.float64), -np.inf)
        return replace(self.order, scores=self._rest + given).served()

    def likely(self, opinions: Tensor) -> Tensor:
        """How likely each item is shown to each person, float64 [people, items]: of a softmax over the scores."""
        there, rest = torch.as_tensor(self._there), torch.as_tensor(self._rest)
        scores = (rest + torch.where(there, opinions.double(), 0.0)).masked_fill(~there, -torch.inf)
        chances = torch.softmax(scores, dim=1).masked_fill(~there, 0.0)
        items = torch.as_tensor(np.maximum(self.order.items, 0))
        return torch.zeros(len(items), self.order.count, dtype=torch.float64).scatter_add(1, items, chances)

    @property
    def _there(self) -> Flags:
        return np.asarray(self.order.items != NO_ITEM)

    @property
    def _rest(self) -> Floats:
        """What is added to the opinions, float64 [people, n]; 0 where there is no candidate."""
        known = np.where(self._there, self.order.scores, 0.0)
        return np.where(self._there, self.weight * known - self.held, 0.0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made fairer, and how much each figure counts.

    Attributes:
        figures: of fairness.
        weights: of each, above 0.
    """

    figures: Sequence[Metric]
    weights: Sequence[float]

    def gaps(self, served: Served) -> dict[str, float]:
        """How far each figure is from fair, by its name."""
        return {each.name: abs(each.of(served) - each.fair) for each in self.figures}

    def value(self, gaps: Mapping[str, float], before: Mapping[str, float]) -> float:
        """What is made small: the weighted mean of how far figures are from fair, each by how far it was."""
        parts = [
            weight * (gaps[each.name] / before[each.name] if before[each.name] > 0 else 1.0 + gaps[each.name])
            for each, weight in zip(self.figures, self.weights, strict=True)
        ]
        return sum(parts) / sum(self.weights)

    def slopes(self, order: FusedOrder, opinions: Tensor) -> dict[str, Tensor]:
        """The derivatives by the opinions [people, n] of how far each smooth figure of an order is from fair, by the
        name of the figure."""
        served = order.served(opinions)
        found = {}
        for each in self.figures:
            given = opinions.detach().clone().requires_grad_(True)
            towards = 1.0 if each.of(served) >= each.fair else -1.0
            found[each.name] = _slope(towards * each.soft(order.likely(given), served), given)
        return found


def accuracy_slope(order: FusedOrder, opinions: Tensor) -> Tensor:
    """The derivatives of :func:`accuracy` by the opinions [people, n]."""
    given = opinions.detach().clone().requires_grad_(True)
    return _slope(accuracy(order, given), given)


def accuracy(order: FusedOrder, opinions: Tensor) -> Tensor:
    """The mean log-probability of what people chose, a scalar in nats; 0 for those among whose candidates it is not.

    NDCG jumps and looks at few places; this hears of every answer, so that few people tell a loss from noise.
    """
    likely = order.likely(opinions)
    chances = likely.gather(1, torch.as_tensor(order.order.chosen)[:, None])[:, 0]
    among = torch.as_tensor((order.order.items == order.order.chosen[:, None]).any(axis=1))
    return torch.where(among, torch.log(chances.clamp_min(1e-12)), 0.0).mean()


def _slope(value: Tensor, given: Tensor) -> Tensor:
    return torch.nan_to_num(torch.autograd.grad(value, given)[0]).float()
