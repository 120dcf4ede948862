"""Gradients and curvature of the likelihood of training samples, without a matrix that is ever written down.

The curvature is the Gauss-Newton matrix of the cross-entropy: G = 1/n sum_i J_i' (diag(p_i) - p_i p_i') J_i, with the
Jacobian J_i of the logits of target i and its probabilities p_i, where each target counts once. It is never negative,
where the Hessian of a trained network is not (Martens, "New insights and perspectives on the natural gradient method",
JMLR 2020, section 8.1). One product costs somewhat more than a pass of training (:mod:`rag_rec.influence.jacobian`).

Models run in evaluation mode, without dropout, and with attention that has derivatives of the second kind: transformers
calls it ``eager``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from rag_rec.errors import InvalidInput
from rag_rec.influence.jacobian import Jacobian
from rag_rec.influence.vectors import Vector, add, scaled, zeros
from rag_rec.progress.protocol import SILENT, Progress

HELD: Final = 2**27
"""Logits of the batches whose derivatives are held between the products, by their number: some gigabytes of memory. The
derivatives of further batches are taken anew for each product, which takes nearly twice the time."""
NO_TARGETS: Final = "There is no sample to learn the curvature from: give at least one with a target."


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch of training samples as a function of the weights.

    Attributes:
        logits: gives the logits float [n, v] of the n targets; differentiable, and a pure function of the weights.
        targets: int64 [n].
        shares: how much the loss of each target counts, float [n]; None for 1 each.
    """

    logits: Callable[[Vector], Tensor]
    targets: Tensor
    shares: Tensor | None = None

    @property
    def counts(self) -> Tensor:
        """How much the loss of each target counts, float [n]."""
        return torch.ones_like(self.targets, dtype=torch.float32) if self.shares is None else self.shares

    def losses(self, weights: Vector) -> Tensor:
        """The cross-entropy of each target in nats, float [n], however much it counts."""
        return functional.cross_entropy(self.logits(weights), self.targets, reduction="none")

    def gradient(self, weights: Vector) -> dict[str, Tensor]:
        """The gradient of the *sum* of the losses, each as often as it counts."""
        jacobian = Jacobian(self.logits, weights)
        return jacobian.back(slopes(torch.softmax(jacobian.logits, dim=1), self.targets, self.counts))


def slopes(likely: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """The derivatives of cross-entropies by the logits, float [n, v].

    Args:
        likely: the probabilities, float [n, v].
        targets: int64 [n].
        counts: how much the loss of each target counts, float [n].
    """
    away = likely.clone()
    away[torch.arange(len(away)), targets] -= 1.0
    return away.mul_(counts[:, None])


def count_of(batches: Sequence[Samples]) -> float:
    """How much the losses of several batches count together."""
    return sum((float(batch.counts.sum(dtype=torch.float64)) for batch in batches), 0.0)


def total_gradient(weights: Vector, batches: Sequence[Samples], told: Progress = SILENT) -> dict[str, Tensor]:
    """The gradient of the sum of the losses of several batches, each a step of progress; zero where there is none."""
    total = zeros(weights)
    for batch in batches:
        total = add(total, batch.gradient(weights))
        told.advance(1)
    return total


class GaussNewton:
    """The Gauss-Newton matrix of the mean loss at some weights, as an operator.

    Args:
        weights: where.
        batches: a fixed sample of what the weights were trained on. The cost of a product grows with this sample, not
            with the data.

    Raises:
        InvalidInput: the sample has no target.
    """

    def __init__(self, weights: Vector, batches: Sequence[Samples]) -> None:
        self._weights = dict(weights)
        self._batches = batches
        self._held: dict[int, _Curved] = {}
        self._room = HELD
        self._count = count_of(batches)
        if not self._count:
            raise InvalidInput(NO_TARGETS)

    def product(self, vector: Vector) -> dict[str, Tensor]:
        """``G vector``."""
        total = zeros(vector)
        for place in range(len(self._batches)):
            total = add(total, self._at(place).product(vector))
        return scaled(total, 1.0 / self._count)

    def _at(self, place: int) -> _Curved:
        """A batch by its place, held where there is room."""
        if place in self._held:
            return self._held[place]
        made = _Curved.of(self._weights, self._batches[place])
        if made.likely.numel() <= self._room:
            self._room -= made.likely.numel()
            self._held[place] = made
        return made


@dataclass(frozen=True, slots=True)
class _Curved:
    """A batch whose curvature is asked for.

    Attributes:
        jacobian: of its logits.
        likely: the probabilities, float [n, v].
        counts: how much the loss of each target counts, float [n, 1].
    """

    jacobian: Jacobian
    likely: Tensor
    counts: Tensor

    @classmethod
    def of(cls, weights: Vector, batch: Samples) -> _Curved:
        jacobian = Jacobian(batch.logits, weights)
        return cls(jacobian, torch.softmax(jacobian.logits, dim=1), batch.counts[:, None])

    def product(self, vector: Vector) -> dict[str, Tensor]:
        """The curvature of the sum of the losses times a vector."""
        moved = self.jacobian.along(vector)
        bent = self.counts * self.likely * (moved - (self.likely * moved).sum(1, keepdim=True))
        return self.jacobian.back(bent)
