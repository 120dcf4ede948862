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
from rag_rec.influence.vectors import Vector, add, dot, norm, zeros

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


def solve(  # noqa: PLR0913 - the equation, and how well it is to be solved
    product: Product,
    right: Vector,
    damping: float,
    iterations: int,
    tolerance: float = 1e-6,
    near: Product = dict,
) -> Solution:
    """Solve until the residual is small enough, or the iterations are used up; the residual tells which.

    Args:
        product: ``A v`` of a vector v.
        right: b.
        damping: is added to the diagonal of A; above 0 the solution is bounded in every direction.
        iterations: the most products.
        tolerance: the largest residual that needs no further iteration.
        near: the preconditioner, a symmetric and positive operator; the nearer it is to the inverse of ``A + damping``,
            the fewer products it takes.

    Raises:
        InvalidInput: the damping is not above 0, b is not finite, or the solve diverged: the operator has a negative
            direction, or its products are not finite.
    """
    if not damping > 0.0:
        raise InvalidInput(f"The damping is {damping}; it must be above 0.")
    found, rest = zeros(right), dict(right)
    length = norm(right)
    if not math.isfinite(length):
        raise InvalidInput("There is nothing to solve for: the gradient is not finite. Train with a lower rate.")
    towards = dict(near(rest))
    size, left, done = dot(rest, towards), length, 0
    while done < iterations and left > tolerance * length:
        image = add(product(towards), towards, damping)
        step = _step(size, dot(towards, image))
        found, rest = add(found, towards, step), add(rest, image, -step)
        nearer, before = near(rest), size
        size, left = dot(rest, nearer), norm(rest)
        towards = add(nearer, towards, size / before)
        done += 1
    return Solution(found, left / length if length else 0.0, done)


def _step(size: float, bend: float) -> float:
    if not math.isfinite(bend) or bend <= 0.0:
        raise InvalidInput(
            "The solve diverged: the curvature is negative or not finite in some direction. Use a larger damping."
        )
    return size / bend
