"""The weights that a training without some of its samples would have given, by Newton's method on what remains.

The loss of n samples is ``1/n sum_i l_i + decay/2 |w - base|^2``. A training stops at weights w0 where its gradient is
``stop``, zero at a minimum. Without the samples that are to go, another training would have stopped where the gradient
of the m that remain is the same, that is where ``pull(w) = stop - gradient(w)`` vanishes. Newton's step towards there
is ``(G + decay + damping)^-1 pull(w)`` with the curvature G of what remains, exact for a quadratic loss without
damping; its theoretical length is 1 (Koh and Liang, "Understanding black-box predictions via influence functions",
ICML 2017, arXiv 1703.04730, for one sample; Guo et al., "Certified data removal from machine learning models", ICML
2020, arXiv 1911.03030, for the step on what remains). Further rounds take the gradient again at the new weights.

The samples that go are not needed: what they pulled is what ``stop`` has and the gradient of the rest has not. So a
training keeps one vector for all people together, and nothing of a person has to be kept for a removal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from rag_rec.errors import InvalidInput
from rag_rec.influence.curvature import GaussNewton, Samples, count_of, total_gradient
from rag_rec.influence.solver import solve
from rag_rec.influence.vectors import Vector, add, norm, scaled

STIFFER: Final = 10.0
"""How much more the round after one that went wrong is damped."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A training, as far as a removal depends on it.

    Attributes:
        weights: what came out.
        drift: how far they are from where the decay draws them to.
        decay: how hard it draws: the factor of half the square of the drift in the mean loss.
        stop: the gradient of the mean loss of all samples at the weights, with the decay; see :func:`gradient_at_stop`.
    """

    weights: Vector
    drift: Vector
    decay: float
    stop: Vector


@dataclass(frozen=True, slots=True)
class Rest:
    """What remains to learn from.

    Attributes:
        samples: all of it.
        drawn: a fixed part of it, for the curvature.
    """

    samples: Sequence[Samples]
    drawn: Sequence[Samples]


@dataclass(frozen=True, slots=True)
class Effort:
    """How the steps are solved for.

    Attributes:
        damping: holds the step back in directions that the samples say little of.
        iterations: the most products of each solve.
        rounds: steps that are tried; after each the gradient is taken anew, a pass over what remains.
        careful: take a round back that came no nearer, see :func:`without`.
    """

    damping: float = 1e-4
    iterations: int = 15
    rounds: int = 1
    careful: bool = True


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal found.

    Attributes:
        weights: without the samples.
        pulls: length of what was left to go at first and after each round.
        residuals: of each solve, see :class:`rag_rec.influence.solver.Solution`.
    """

    weights: dict[str, Tensor]
    pulls: tuple[float, ...]
    residuals: tuple[float, ...]


def gradient_at_stop(weights: Vector, drift: Vector, decay: float, samples: Sequence[Samples]) -> dict[str, Tensor]:
    """The gradient of the mean loss of all samples with the decay, for :class:`Trained`.

    Raises:
        InvalidInput: there is no sample.
    """
    return add(scaled(total_gradient(weights, samples), 1.0 / _count(samples)), drift, decay)


def without(trained: Trained, rest: Rest, effort: Effort) -> Removed:
    """Remove every sample that the training had and the rest has not.

    A careful removal takes a round back whose weights are pulled harder than those before it, and damps the next one
    ten times as much: the loss is more curved there than was thought (Levenberg and Marquardt). One that is not takes
    the step of the theory, wherever it leads; what it left has to be measured all the more.

    Args:
        trained: the training on all samples.
        rest: what remains of them.
        effort: of the solves.

    Raises:
        InvalidInput: nothing remains, a solve diverged, or no round of a careful removal came nearer.
    """
    at, damping = _Place.of(trained, trained.weights, rest), effort.damping
    pulls, residuals = [at.length], []
    for _ in range(effort.rounds):
        if not at.length:
            break
        curvature = GaussNewton(at.weights, rest.drawn)
        found = solve(curvature.product, at.pull, damping + trained.decay, effort.iterations)
        new = _Place.of(trained, add(at.weights, found.vector), rest)
        if new.length < at.length or not effort.careful:
            at = new
        else:
            damping *= STIFFER
        pulls.append(new.length)
        residuals.append(found.residual)
    if effort.careful and at.length and at.length == pulls[0]:
        raise InvalidInput("The removal diverged: no step came nearer. Use a larger damping, or train again.")
    return Removed(at.weights, tuple(pulls), tuple(residuals))


@dataclass(frozen=True, slots=True)
class _Place:
    """Weights, and what pulls at them."""

    weights: dict[str, Tensor]
    pull: dict[str, Tensor]

    @classmethod
    def of(cls, trained: Trained, weights: Vector, rest: Rest) -> _Place:
        drift = add(trained.drift, add(weights, trained.weights, -1.0))
        return cls(
            dict(weights), add(trained.stop, gradient_at_stop(weights, drift, trained.decay, rest.samples), -1.0)
        )

    @property
    def length(self) -> float:
        return norm(self.pull)


def _count(samples: Sequence[Samples]) -> float:
    count = count_of(samples)
    if not count:
        raise InvalidInput("Nothing remains to learn from: use the base without an adapter.")
    return count
