"""Solves ``(A + damping) x = b`` for a symmetric, non-negative operator A by conjugate gradients.

Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952. Few iterations find the part of
the solution that lies in the directions of high curvature, which is the part that samples determine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rag_rec.errors import InvalidInput
from rag_rec.influence.vectors import Vector, add, dot, zeros

Product = Callable[[Vector], Vector]


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solve found.

    Attributes:
        vector: x.
        residual: length of ``b - (A + damping) x`` by that of b, as the iteration keeps it: 0 is exact.
        iterations: products that it took.
    """

    vector: dict[str, Tensor]
    residual: float
    iterations: int


def solve(product: Product, right: Vector, damping: float, iterations: int, tolerance: float = 1e-6) -> Solution:
    """Solve until the residual is small enough, or the iterations are used up; the residual tells which.

    Args:
        product: ``A v`` of a vector v.
        right: b.
        damping: is added to the diagonal of A; above 0 the solution is bounded in every direction.
        iterations: the most products.
        tolerance: the largest residual that needs no further iteration.

    Raises:
        InvalidInput: the damping is not above 0, b is not finite, or the solve diverged: the operator has a negative
            direction, or its products are not finite.
    """
    if not damping > 0.0:
        raise InvalidInput(f"The damping is {damping}; it must be above 0.")
    found, rest = zeros(right), dict(right)
    towards, size = dict(right), dot(right, right)
    if not math.isfinite(size):
        raise InvalidInput("There is nothing to solve for: the gradient is not finite. Train with a lower rate.")
    length, done = math.sqrt(size), 0
    while done < iterations and math.sqrt(size) > tolerance * length:
        image = add(product(towards), towards, damping)
        step = _step(size, dot(towards, image))
        found, rest = add(found, towards, step), add(rest, image, -step)
        before, size = size, dot(rest, rest)
        towards = add(rest, towards, size / before)
        done += 1
    return Solution(found, math.sqrt(size) / length if length else 0.0, done)


def _step(size: float, bend: float) -> float:
    if not math.isfinite(bend) or bend <= 0.0:
        raise InvalidInput(
            "The solve diverged: the curvature is negative or not finite in some direction. Use a larger damping."
        )
    return size / bend
