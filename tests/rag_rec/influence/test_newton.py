from __future__ import annotations

import pytest
import torch

from rag_rec.errors import InvalidInput
from rag_rec.influence.curvature import GaussNewton, Samples
from rag_rec.influence.kronecker import Kronecker
from rag_rec.influence.newton import Drawn, Newton
from rag_rec.influence.solver import solve
from rag_rec.influence.vectors import Vector
from tests.rag_rec.influence.models import dense, drawn, flat, network, two_layers

WIDE = torch.logspace(0.5, -2.0, 4, dtype=torch.float64)
ROWS, TARGETS = drawn(seed=1, rows=40, width=4, classes=3)
ROWS = ROWS * WIDE  # some directions say much and others little, as features of models do
DAMPING = 1e-3
MANY = 200


@pytest.fixture
def weights() -> Vector:
    return two_layers()


def sample() -> Drawn:
    singly = [network(ROWS[place : place + 1], TARGETS[place : place + 1]) for place in range(len(ROWS))]
    return Drawn([network(ROWS[:25], TARGETS[:25]), network(ROWS[25:], TARGETS[25:])], singly)


def pull(like: Vector) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(3)
    return {name: torch.randn(weight.shape, generator=draws, dtype=weight.dtype) for name, weight in like.items()}


def test_many_products_reach_what_the_matrix_gives(weights: Vector) -> None:
    found = Newton(weights, sample(), 0).step(pull(weights), DAMPING, MANY)
    matrix = dense(weights, sample().whole)
    exact = torch.linalg.solve(matrix + DAMPING * torch.eye(len(matrix), dtype=torch.float64), flat(pull(weights)))
    assert torch.allclose(flat(found.vector), exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


def test_few_products_come_nearer_than_either_part_alone(weights: Vector) -> None:
    newton, right = Newton(weights, sample(), 0), pull(weights)
    matrix = dense(weights, sample().whole)
    damped = matrix + DAMPING * torch.eye(len(matrix), dtype=torch.float64)
    exact = torch.linalg.solve(damped, flat(right))

    def off(found: Vector) -> float:
        """In the metric of the equation, in which conjugate gradients come nearer with every product."""
        return float((flat(found) - exact) @ damped @ (flat(found) - exact))

    alone = solve(GaussNewton(weights, sample().whole).product, right, DAMPING, 4).vector
    diagonal = Kronecker.of(weights, sample().small, 0).solved(right, DAMPING)
    assert off(newton.step(right, DAMPING, 4).vector) < 0.5 * min(off(alone), off(diagonal))


def test_steps_of_one_place_do_not_depend_on_one_another(weights: Vector) -> None:
    newton = Newton(weights, sample(), 0)
    first = newton.step(pull(weights), DAMPING, 3).vector
    newton.step(weights, 0.1, 2)
    again = newton.step(pull(weights), DAMPING, 3).vector
    assert all(torch.equal(first[name], again[name]) for name in weights)


def test_what_cannot_be_solved_for_is_refused(weights: Vector) -> None:
    nothing: list[Samples] = [network(ROWS[:0], TARGETS[:0])]
    for part in (Drawn(nothing, sample().small), Drawn(sample().whole, nothing)):
        with pytest.raises(InvalidInput, match="at least one"):
            Newton(weights, part, 0)
    with pytest.raises(InvalidInput, match="above 0"):
        Newton(weights, sample(), 0).step(pull(weights), 0.0, 3)
