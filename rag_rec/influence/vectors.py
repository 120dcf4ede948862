"""Vectors in the space of a model's weights: one tensor for each weight, by its name.

Weights are whole differences to a frozen base, not the factors of LoRA: a product of two factors does not change when
an invertible matrix is put between them, so that its curvature has directions in which nothing can be solved.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Vector = Mapping[str, Tensor]
"""One tensor for each weight. Two vectors of one space have the same names and shapes."""


def dot(left: Vector, right: Vector) -> float:
    """The inner product, added up in double precision."""
    return sum(float(torch.sum(left[name].double() * right[name].double())) for name in left)


def norm(vector: Vector) -> float:
    """The Euclidean length."""
    return float(dot(vector, vector) ** 0.5)


def add(left: Vector, right: Vector, scale: float = 1.0) -> dict[str, Tensor]:
    """``left + scale * right``."""
    return {name: torch.add(left[name], right[name], alpha=scale) for name in left}


def scaled(vector: Vector, scale: float) -> dict[str, Tensor]:
    """``scale * vector``."""
    return {name: tensor * scale for name, tensor in vector.items()}


def zeros(like: Vector) -> dict[str, Tensor]:
    """The origin of a space."""
    return {name: torch.zeros_like(tensor) for name, tensor in like.items()}
