"""Small models over named weights, with what an explicit matrix says of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rag_rec.influence.curvature import Samples
from rag_rec.influence.vectors import Vector


def flat(vector: Vector) -> Tensor:
    return torch.cat([vector[name].reshape(-1) for name in sorted(vector)])


def shaped(values: Tensor, like: Vector) -> dict[str, Tensor]:
    parts = torch.split(values, [like[name].numel() for name in sorted(like)])
    return {name: part.reshape(like[name].shape) for name, part in zip(sorted(like), parts, strict=True)}


def linear(rows: Tensor, targets: Tensor) -> Samples:
    """A softmax over ``rows W'``."""
    return Samples(lambda weights: rows @ weights["w"].T, targets)


def network(rows: Tensor, targets: Tensor) -> Samples:
    """A softmax over a hidden layer."""
    return Samples(lambda weights: torch.tanh(rows @ weights["u"].T) @ weights["w"].T, targets)


def dense(weights: Vector, batches: Sequence[Samples]) -> Tensor:
    """The Gauss-Newton matrix, written down."""
    at, total, count = flat(weights), 0.0, 0
    for batch in batches:
        jacobian = torch.func.jacrev(lambda values, batch=batch: batch.logits(shaped(values, weights)))(at)
        for row, likely in zip(jacobian, torch.softmax(batch.logits(weights), dim=1), strict=True):
            total = total + row.T @ (torch.diag(likely) - torch.outer(likely, likely)) @ row
        count += len(batch.targets)
    assert isinstance(total, Tensor)
    return total / count


def drawn(seed: int, rows: int, width: int, classes: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, width, generator=draws, dtype=torch.float64)
    truth = torch.randn(classes, width, generator=draws, dtype=torch.float64)
    noise = torch.randn(rows, classes, generator=draws, dtype=torch.float64)
    return features, (features @ truth.T + noise).argmax(1)


def two_layers() -> dict[str, Tensor]:
    """Weights of :func:`network` for four features and three classes."""
    draws = torch.Generator().manual_seed(2)
    return {
        "u": torch.randn(5, 4, generator=draws, dtype=torch.float64),
        "w": torch.randn(3, 5, generator=draws, dtype=torch.float64),
    }
