"""Gradients and curvature of the likelihood of training samples, without a matrix that is ever written down.

The curvature is the Gauss-Newton matrix of the cross-entropy: G = 1/n sum_i J_i' (diag(p_i) - p_i p_i') J_i, with the
Jacobian J_i of the logits of target i and its probabilities p_i, where each target counts once. It is never negative,
where the Hessian of a trained network is not (Martens, "New insights and perspectives on the natural gradient method",
JMLR 2020, section 8.1). One product costs about as much as two passes of training.

Models run in evaluation mode, without dropout, and with attention that has derivatives of the second kind: transformers
calls it ``eager``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp
from torch.nn import functional

from rag_rec.errors import InvalidInput
from rag_rec.influence.vectors import Vector, add, scaled, zeros

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
        return dict(grad(lambda moved: (self.counts * self.losses(moved)).sum())(dict(weights)))


def count_of(batches: Sequence[Samples]) -> float:
    """How much the losses of several batches count together."""
    return sum((float(batch.counts.sum(dtype=torch.float64)) for batch in batches), 0.0)


def total_gradient(weights: Vector, batches: Sequence[Samples]) -> dict[str, Tensor]:
    """The gradient of the sum of the losses of several batches; zero where there is none."""
    total = zeros(weights)
    for batch in batches:
        total = add(total, batch.gradient(weights))
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
        self._count = count_of(batches)
        if not self._count:
            raise InvalidInput(NO_TARGETS)

    def product(self, vector: Vector) -> dict[str, Tensor]:
        """``G vector``."""
        total = zeros(vector)
        for batch in self._batches:
            total = add(total, self._of(batch, vector))
        return scaled(total, 1.0 / self._count)

    def _of(self, batch: Samples, vector: Vector) -> dict[str, Tensor]:
        logits, moved = jvp(batch.logits, (self._weights,), (dict(vector),))[:2]
        with torch.no_grad():
            likely = torch.softmax(logits, dim=1)
            bent = batch.counts[:, None] * likely * (moved - (likely * moved).sum(1, keepdim=True))
        return dict(vjp(batch.logits, self._weights)[1](bent)[0])
