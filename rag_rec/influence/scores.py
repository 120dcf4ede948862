"""How much each training sample pulls the weights in one direction: the inner product of its gradient with it.

All products at once are the directional derivative of the vector of losses, taken by central differences: two passes
without gradients, whatever the number of samples, where gradients one by one would take a pass each and much memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from rag_rec.errors import InvalidInput
from rag_rec.influence.curvature import Samples
from rag_rec.influence.vectors import Vector, add, norm

WIDTHS: Final = (1e-2, 3e-3)
"""Lengths of the two steps that are compared. Float32 rounds away smaller ones; a longer one meets the curvature."""
AGREEMENT: Final = 0.05
"""How far the two results may lie apart, by the length of the first."""


def scores(weights: Vector, batches: Sequence[Samples], direction: Vector, width: float) -> Tensor:
    """The inner products of the losses' gradients with a direction, float [all targets], in the order of the batches.

    Args:
        weights: where the gradients are taken.
        batches: the samples.
        direction: of any length.
        width: length of the step along the direction.
    """
    length = norm(direction)
    if not length:
        return torch.zeros(sum(len(batch.targets) for batch in batches))
    ahead, behind = (add(weights, direction, sign * width / length) for sign in (1.0, -1.0))
    with torch.no_grad():
        rises = [batch.losses(ahead) - batch.losses(behind) for batch in batches]
    return torch.cat(rises) * (length / (2.0 * width))


def checked_scores(weights: Vector, batches: Sequence[Samples], direction: Vector) -> Tensor:
    """As :func:`scores`, with two widths that have to agree: four passes.

    Raises:
        InvalidInput: they do not, so that neither can be trusted.
    """
    coarse, fine = (scores(weights, batches, direction, width) for width in WIDTHS)
    apart = float(torch.linalg.vector_norm(coarse - fine))
    if apart > AGREEMENT * float(torch.linalg.vector_norm(coarse)):
        raise InvalidInput(
            "Central differences of two widths do not agree: the losses are too curved, or too coarse, along this "
            "direction. Use weights in float32 or wider, and a shorter direction."
        )
    return coarse
