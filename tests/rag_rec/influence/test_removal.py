"""Against a softmax regression with weight decay, which has one minimum and can be trained again exactly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from rag_rec.errors import InvalidInput
from rag_rec.influence.curvature import Samples
from rag_rec.influence.removal import Effort, Trained, removal_step
from rag_rec.influence.solver import Solution
from rag_rec.influence.vectors import Vector, add, dot, norm
from tests.rag_rec.influence.models import drawn, linear

DECAY = 0.05
ROWS, TARGETS = drawn(seed=6, rows=400, width=5, classes=4)
GONE = 20
EXACT = Effort(damping=1e-9, iterations=200)


def trained(rows: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """The one minimum, by Newton's method with the Hessian written down."""

    def loss(weight: torch.Tensor) -> torch.Tensor:
        return linear(rows, targets).losses({"w": weight.view(4, 5)}).mean() + 0.5 * DECAY * weight @ weight

    weight = torch.zeros(20, dtype=torch.float64)
    for _ in range(20):
        weight = weight - torch.linalg.solve(torch.func.hessian(loss)(weight), torch.func.grad(loss)(weight))
    assert torch.func.grad(loss)(weight).norm() < 1e-12
    return {"w": weight.view(4, 5)}


def step_of(weights: Vector, remaining: Sequence[Samples], effort: Effort = EXACT) -> Solution:
    gone = [linear(ROWS[:GONE], TARGETS[:GONE])]
    return removal_step(Trained(weights, weights, DECAY, len(ROWS)), gone, remaining, effort)


def test_the_step_lands_where_a_training_without_the_samples_does() -> None:
    weights, without = trained(ROWS, TARGETS), trained(ROWS[GONE:], TARGETS[GONE:])
    found = step_of(weights, [linear(ROWS[GONE:], TARGETS[GONE:])])
    step, real = found.vector, add(without, weights, -1.0)
    assert found.residual < 1e-5
    assert dot(step, real) / (norm(step) * norm(real)) > 0.99
    assert norm(step) == pytest.approx(norm(real), rel=0.1)  # a factor of two, or a sign, would show
    assert norm(add(real, step, -1.0)) < 0.15 * norm(real)


def test_the_curvature_of_a_part_of_what_remains_serves_as_well() -> None:
    weights, without = trained(ROWS, TARGETS), trained(ROWS[GONE:], TARGETS[GONE:])
    found = step_of(weights, [linear(ROWS[GONE : GONE + 150], TARGETS[GONE : GONE + 150])])
    real = add(without, weights, -1.0)
    assert norm(add(real, found.vector, -1.0)) < 0.4 * norm(real)


def test_the_more_damping_the_shorter_the_step() -> None:
    weights, remaining = trained(ROWS, TARGETS), [linear(ROWS[GONE:], TARGETS[GONE:])]
    lengths = [norm(step_of(weights, remaining, Effort(damping, 200)).vector) for damping in (1e-9, 1e-2, 1e-1, 1.0)]
    assert lengths == sorted(lengths, reverse=True)


def test_where_nothing_remains_nothing_is_removed() -> None:
    whole, weights = [linear(ROWS, TARGETS)], {"w": torch.zeros(4, 5, dtype=torch.float64)}
    with pytest.raises(InvalidInput, match="Nothing remains"):
        removal_step(Trained(weights, weights, DECAY, len(ROWS)), whole, whole, EXACT)
