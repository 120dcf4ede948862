"""The derivative of a batch's logits by the weights, as an operator in both directions.

The model is run once for any number of vectors. Back propagation gives ``J' u`` for a direction u of the logits, and
that is linear in u with the derivative J': so back propagation through it gives ``J v`` for a direction v of the
weights (Townsend, "A new trick for calculating Jacobian vector products", 2017). Forward mode would run the model again
with every vector, which nearly doubles the time of a product of the curvature.

The model must have derivatives of the second kind.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from rag_rec.influence.vectors import Vector


class Jacobian:
    """The derivative J [n, v] x [weights] at some weights. It holds what the model computed as long as it lives.

    Args:
        logits: gives the logits float [n, v] of a batch; differentiable, and a pure function of the weights.
        weights: where. They are not changed.
    """

    def __init__(self, logits: Callable[[Vector], Tensor], weights: Vector) -> None:
        self._weights = {name: weight.detach().requires_grad_(True) for name, weight in weights.items()}
        self._logits = logits(self._weights)

    @property
    def logits(self) -> Tensor:
        """At the weights, float [n, v]."""
        return self._logits.detach()

    def back(self, direction: Tensor) -> dict[str, Tensor]:
        """``J' u`` of a direction u [n, v] of the logits; zero for a weight that they do not depend on."""
        found = torch.autograd.grad(
            self._logits, list(self._weights.values()), direction, retain_graph=True, materialize_grads=True
        )
        return dict(zip(self._weights, found, strict=True))

    def along(self, direction: Vector) -> Tensor:
        """``J v`` of a direction v of the weights, float [n, v]."""
        parts = {name: part for name, part in self._pulled.items() if part.requires_grad}
        given = [direction[name] for name in parts]
        return torch.autograd.grad(list(parts.values()), self._anywhere, given, retain_graph=True)[0]

    @cached_property
    def _anywhere(self) -> Tensor:
        """A direction of the logits. Where it leads does not matter, since ``J' u`` is linear in it."""
        return torch.zeros_like(self._logits, requires_grad=True)

    @cached_property
    def _pulled(self) -> dict[str, Tensor]:
        """``J' u`` of that direction, as a function of it."""
        weights = list(self._weights.values())
        found = torch.autograd.grad(self._logits, weights, self._anywhere, create_graph=True, materialize_grads=True)
        return dict(zip(self._weights, found, strict=True))
