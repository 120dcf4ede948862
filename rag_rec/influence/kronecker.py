"""The curvature of the likelihood as a diagonal in a basis of each matrix: it can be inverted, for any damping.

The gradient of a batch whose targets are drawn from what the model itself says has the Gauss-Newton matrix of the
batch's cross-entropy for its covariance (Martens, "New insights and perspectives on the natural gradient method",
JMLR 2020, section 9). So gradients of some draws span the basis: the eigenvectors of their mean left and right
products for each matrix of weights (Gupta et al., "Shampoo", arXiv 1802.09568). The diagonal is the mean square of
further gradients, drawn anew, in that basis: the eigenvalue correction of EK-FAC (George et al., "Fast approximate
natural gradient descent in a Kronecker-factored eigenbasis", arXiv 1806.03884).

Between two matrices of weights the curvature is taken to be none. The cost is four passes over the batches for any
number of removals, where a solve by products takes two passes for each product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from rag_rec.errors import InvalidInput
from rag_rec.influence.curvature import NO_TARGETS, Samples, count_of, slopes
from rag_rec.influence.jacobian import Jacobian
from rag_rec.influence.vectors import Vector
from rag_rec.progress.protocol import SILENT, Progress

PASSES: Final = 2
"""Over the batches: one for the bases, one for the diagonal."""
LARGEST: Final = 1024
"""Sides of a matrix that are longer keep their own basis: the tokens of an embedding are nearly independent."""


@dataclass(frozen=True, slots=True)
class Kronecker:
    """The curvature of the mean loss at some weights.

    Attributes:
        parts: of each matrix of weights.
    """

    parts: Mapping[str, Part]

    @classmethod
    def of(
        cls, weights: Vector, batches: Sequence[Samples], seed: int, draws: int = 1, told: Progress = SILENT
    ) -> Self:
        """Of a sample of what the weights were trained on.

        Args:
            weights: where. Each is a matrix [out, in].
            batches: the smaller they are, the more gradients the same cost gives.
            seed: of the targets that are drawn.
            draws: of the targets of each batch, for the basis and again for the diagonal.
            told: hears of :data:`PASSES` steps for each batch.

        Raises:
            InvalidInput: the sample has no target, or what the model says is not finite.
        """
        count = count_of(batches)
        if not count:
            raise InvalidInput(NO_TARGETS)
        generator = torch.Generator().manual_seed(seed)

        def each() -> Iterator[Mapping[str, Tensor]]:
            for batch in batches:
                yield from gradients(weights, batch, draws, generator)
                told.advance(1)

        bases = _bases(weights, each())
        values = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for drawn in each():
            for name, basis in bases.items():
                values[name] += basis.turned(drawn[name]).square()
        return cls({name: Part(basis, values[name] / (count * draws)) for name, basis in bases.items()})

    def solved(self, vector: Vector, damping: float) -> dict[str, Tensor]:
        """``(curvature + damping)^-1 vector``. Raises ``InvalidInput`` where the damping is not above 0."""
        if not damping > 0.0:
            raise InvalidInput(f"The damping is {damping}; it must be above 0.")
        return {name: part.scaled(vector[name], 1.0 / (part.values + damping)) for name, part in self.parts.items()}


@dataclass(frozen=True, slots=True)
class Basis:
    """Orthonormal bases of the two sides of a matrix [out, in]; None is the side's own."""

    left: Tensor | None
    right: Tensor | None

    def turned(self, matrix: Tensor) -> Tensor:
        """The coordinates of a matrix."""
        half = matrix if self.left is None else self.left.T @ matrix
        return half if self.right is None else half @ self.right

    def back(self, coordinates: Tensor) -> Tensor:
        """The matrix of some coordinates."""
        half = coordinates if self.left is None else self.left @ coordinates
        return half if self.right is None else half @ self.right.T


@dataclass(frozen=True, slots=True)
class Part:
    """The curvature of one matrix: the diagonal ``values`` [out, in] in a basis."""

    basis: Basis
    values: Tensor

    def scaled(self, matrix: Tensor, factors: Tensor) -> Tensor:
        """A matrix whose coordinates are multiplied by factors [out, in]."""
        return self.basis.back(self.basis.turned(matrix) * factors)


def gradients(weights: Vector, batch: Samples, draws: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
    """Gradients of a batch whose targets are drawn from what the weights say. Each loss has the root of its count for a
    factor: then their covariance is the curvature of the losses, each as often as it counts."""
    jacobian = Jacobian(batch.logits, weights)
    likely = torch.softmax(jacobian.logits, dim=1)
    if not bool(torch.isfinite(likely).all()):
        raise InvalidInput("What the model says is not finite. Train with a lower rate.")
    for _ in range(draws):
        yield jacobian.back(slopes(likely, _drawn(likely, generator), batch.counts.sqrt()))


def _drawn(likely: Tensor, generator: torch.Generator) -> Tensor:
    """One place of each row of probabilities [n, v], int64 [n], by the inverse of their running sum.
    ``torch.multinomial`` draws a number for each of the n v places, which would take a fifth of the whole time."""
    sums = likely.cumsum(1)
    wanted = torch.rand(len(likely), 1, generator=generator) * sums[:, -1:]
    return torch.searchsorted(sums, wanted, right=True)[:, 0].clamp_(max=likely.shape[1] - 1)


def _bases(weights: Vector, drawn: Iterator[Mapping[str, Tensor]]) -> dict[str, Basis]:
    sides = {name: (_square(weight, 0), _square(weight, 1)) for name, weight in weights.items()}
    for gradient in drawn:
        for name, (left, right) in sides.items():
            matrix = gradient[name]
            if left is not None:
                left.addmm_(matrix, matrix.T)
            if right is not None:
                right.addmm_(matrix.T, matrix)
    return {name: Basis(_eigenvectors(left), _eigenvectors(right)) for name, (left, right) in sides.items()}


def _square(weight: Tensor, side: int) -> Tensor | None:
    size = weight.shape[side]
    return None if size > LARGEST else weight.new_zeros(size, size)


def _eigenvectors(square: Tensor | None) -> Tensor | None:
    if square is None:
        return None
    _, vectors = torch.linalg.eigh(square.double())
    found: Tensor = vectors.to(square.dtype)
    return found
