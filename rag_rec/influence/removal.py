"""The weights that a training without some of its samples would have given, by one Newton step.

The loss of n samples is ``1/n sum_i l_i + decay/2 |w - base|^2``, and at its minimum the gradient vanishes. Without the
samples F the gradient at the same weights is ``-1/m sum_F (g_i + decay (w - base))``, m = n - |F|, so that Newton's
step is ``1/m (H + decay + damping)^-1 sum_F (g_i + decay (w - base))`` with the curvature H of what remains: exact for
a quadratic loss without damping. The theoretical step is 1 (Koh and Liang, "Understanding black-box predictions via
influence functions", ICML 2017, arXiv 1703.04730, for one sample; Guo et al., "Certified data removal from machine
learning models", ICML 2020, arXiv 1911.03030, for the step on what remains).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rag_rec.errors import InvalidInput
from rag_rec.influence.curvature import GaussNewton, Samples, total_gradient
from rag_rec.influence.solver import Solution, solve
from rag_rec.influence.vectors import Vector, add, scaled


@dataclass(frozen=True, slots=True)
class Trained:
    """A training, as far as a removal depends on it.

    Attributes:
        weights: what came out.
        drift: how far they are from where the decay draws them to.
        decay: how hard it draws: the factor of half the square of the drift in the mean loss.
        targets: of all samples.
    """

    weights: Vector
    drift: Vector
    decay: float
    targets: int


@dataclass(frozen=True, slots=True)
class Effort:
    """How a step is solved for.

    Attributes:
        damping: holds the step back in directions that the samples say little of.
        iterations: the most products of the solve.
    """

    damping: float = 1e-4
    iterations: int = 15


def removal_step(trained: Trained, gone: Sequence[Samples], remaining: Sequence[Samples], effort: Effort) -> Solution:
    """The step to add to the weights.

    Args:
        trained: the training on all samples.
        gone: the samples to remove, all of them.
        remaining: a fixed sample of those that remain, for the curvature.
        effort: of the solve.

    Raises:
        InvalidInput: nothing remains, or the solve diverged.
    """
    count = sum(len(batch.targets) for batch in gone)
    left = trained.targets - count
    if left < 1:
        raise InvalidInput("Nothing remains to learn from: use the base without an adapter.")
    pull = add(total_gradient(trained.weights, gone), trained.drift, count * trained.decay)
    curvature = GaussNewton(trained.weights, remaining)
    return solve(curvature.product, scaled(pull, 1.0 / left), effort.damping + trained.decay, effort.iterations)
