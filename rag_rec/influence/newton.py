"""Newton's step at some weights: the curvature is solved for by few products, near which EK-FAC begins.

Conjugate gradients without a preconditioner find in few products what lies along the largest curvature, and hardly
anything of what a training learned by heart. The diagonal of :mod:`rag_rec.influence.kronecker` alone takes matrices
for independent that move together, and goes too far. As the preconditioner of the solver it reaches the one, and the
products of the curvature correct the other. See ``docs/unlearning.md`` for what each leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from torch import Tensor

from rag_rec.influence.curvature import GaussNewton, Samples
from rag_rec.influence.kronecker import Kronecker
from rag_rec.influence.solver import Solution, solve
from rag_rec.influence.vectors import Vector
from rag_rec.progress.protocol import SILENT, Progress

PRODUCTS: Final = 8
"""Of a solve, unless told."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A fixed part of what weights were trained on: the cost of a step does not grow with the data.

    Attributes:
        whole: for the products of the curvature, in batches as large as memory bears.
        small: for the diagonal, in batches as small as time bears: each counts once.
    """

    whole: Sequence[Samples]
    small: Sequence[Samples]


class Newton:
    """The steps from some weights. The curvature is found once, for any number of steps.

    Args:
        weights: where.
        drawn: of what they were trained on.
        seed: of the targets that are drawn for the diagonal.
        told: hears of a step for each pass of the diagonal over a small batch, and for each product of a solve.

    Raises:
        InvalidInput: a part that was drawn has no target, or what the model says is not finite.
    """

    def __init__(self, weights: Vector, drawn: Drawn, seed: int, told: Progress = SILENT) -> None:
        self._curvature = GaussNewton(weights, drawn.whole)
        self._near = Kronecker.of(weights, drawn.small, seed, told=told)
        self._told = told

    def step(self, pull: Vector, damping: float, products: int = PRODUCTS) -> Solution:
        """``(G + damping)^-1 pull``, as far as so many products reach.

        Raises:
            InvalidInput: the damping is not above 0, or the solve diverged.
        """
        near = partial(self._near.solved, damping=damping)
        return solve(self._product, pull, damping, products, near=near)

    def _product(self, vector: Vector) -> dict[str, Tensor]:
        found = self._curvature.product(vector)
        self._told.advance(1)
        return found
