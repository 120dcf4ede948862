from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rag_rec.errors import InvalidInput
from rag_rec.influence.curvature import GaussNewton, Samples
from rag_rec.influence.kronecker import LARGEST, Basis, Kronecker, Part, gradients
from rag_rec.influence.solver import solve
from rag_rec.influence.vectors import Vector, scaled
from tests.rag_rec.influence.models import dense, drawn, flat, linear, network, two_layers

ROWS, TARGETS = drawn(seed=1, rows=24, width=4, classes=3)
DAMPING = 0.05


@pytest.fixture
def weights() -> Vector:
    return two_layers()


def singly() -> list[Samples]:
    return [network(ROWS[place : place + 1], TARGETS[place : place + 1]) for place in range(len(ROWS))]


def vector(like: Vector, seed: int = 3) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return {name: torch.randn(weight.shape, generator=draws, dtype=weight.dtype) for name, weight in like.items()}


@pytest.mark.parametrize("shares", [None, torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)])
def test_gradients_of_drawn_targets_have_the_curvature_for_their_covariance(
    weights: Vector, shares: torch.Tensor | None
) -> None:
    batch, generator = replace(network(ROWS[:3], TARGETS[:3]), shares=shares), torch.Generator().manual_seed(4)
    found = torch.stack([flat(each) for each in gradients(weights, batch, 2000, generator)])
    covariance = found.T @ found / len(found)
    each = torch.stack([dense(weights, [network(ROWS[place][None], TARGETS[place][None])]) for place in range(3)])
    curvature = (batch.counts[:, None, None] * each).sum(0)
    assert float((covariance - curvature).norm() / curvature.norm()) < 0.15
    assert float(found.mean(0).norm()) < 0.1 * float(found.norm(dim=1).mean())


def test_where_the_curvature_is_a_product_it_is_found() -> None:
    weights = {"w": torch.zeros(3, 4, dtype=torch.float64)}  # every target is as likely: cov of labels x cov of rows
    found = Kronecker.of(weights, [linear(ROWS, TARGETS)], 0, draws=1000)
    given = vector(weights)
    exact = torch.linalg.solve(dense(weights, [linear(ROWS, TARGETS)]) + DAMPING * torch.eye(12), flat(given))
    assert torch.allclose(flat(found.solved(given, DAMPING)), exact, rtol=0.15, atol=0.1 * float(exact.abs().max()))


def test_the_diagonal_is_that_of_the_matrix_in_the_basis(weights: Vector) -> None:
    found, matrix = Kronecker.of(weights, singly(), 0, draws=100), dense(weights, singly())
    for name, part in found.parts.items():
        for place in range(part.values.numel()):
            unit = torch.zeros(part.values.numel(), dtype=torch.float64)
            unit[place] = 1.0
            along = {each: torch.zeros_like(weight) for each, weight in weights.items()}
            along[name] = part.basis.back(unit.reshape(part.values.shape))
            bent = float(flat(along) @ matrix @ flat(along))
            assert float(part.values.reshape(-1)[place]) == pytest.approx(bent, rel=0.3, abs=5e-3)


def test_a_solution_times_the_damped_diagonal_is_the_vector(weights: Vector) -> None:
    found, given = Kronecker.of(weights, singly(), 0), vector(weights)
    solved = found.solved(given, DAMPING)
    for name, part in found.parts.items():
        assert torch.allclose(part.scaled(solved[name], part.values + DAMPING), given[name], atol=1e-10)


def test_a_solve_that_begins_near_takes_fewer_products() -> None:
    rows, targets = drawn(seed=5, rows=60, width=12, classes=3)
    batch = linear(rows * torch.logspace(1.0, -2.0, 12, dtype=torch.float64), targets)  # as features of models are
    weights = {"w": torch.zeros(3, 12, dtype=torch.float64)}
    curvature, given = GaussNewton(weights, [batch]), vector(weights)
    found = Kronecker.of(weights, [batch], 0, draws=200)
    plain = solve(curvature.product, given, 1e-3, 200, 1e-6)
    near = solve(curvature.product, given, 1e-3, 200, 1e-6, lambda each: found.solved(each, 1e-3))
    assert near.iterations < plain.iterations / 2
    assert torch.allclose(flat(near.vector), flat(plain.vector), rtol=1e-3, atol=1e-3)


def test_equal_seeds_give_equal_curvatures(weights: Vector) -> None:
    first, second, other = (Kronecker.of(weights, singly(), seed) for seed in (7, 7, 8))
    assert all(torch.equal(first.parts[name].values, second.parts[name].values) for name in weights)
    assert any(not torch.equal(first.parts[name].values, other.parts[name].values) for name in weights)


def test_a_long_side_keeps_its_own_basis() -> None:
    weights = {"w": torch.zeros(LARGEST + 1, 2, dtype=torch.float64)}
    rows, targets = torch.randn(3, 2, dtype=torch.float64), torch.tensor([0, 5, LARGEST])
    part = Kronecker.of(weights, [linear(rows, targets)], 0).parts["w"]
    assert part.basis.left is None
    assert part.basis.right is not None


def test_turning_back_gives_the_matrix() -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    matrix = torch.randn(3, 2, dtype=torch.float64)
    part = Part(Basis(turn, None), torch.ones(3, 2, dtype=torch.float64))
    assert torch.allclose(part.scaled(matrix, part.values), matrix, atol=1e-12)


def test_what_cannot_be_inverted_is_refused(weights: Vector) -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        Kronecker.of(weights, [network(ROWS[:0], TARGETS[:0])], 0)
    with pytest.raises(InvalidInput, match="above 0"):
        Kronecker.of(weights, singly(), 0).solved(weights, 0.0)
    with pytest.raises(InvalidInput, match="not finite"):
        Kronecker.of(scaled(weights, float("nan")), singly(), 0)
