from __future__ import annotations

import pytest
import torch

from rag_rec.influence.jacobian import Jacobian
from rag_rec.influence.vectors import Vector
from tests.rag_rec.influence.models import drawn, flat, linear, network, shaped, two_layers

ROWS, TARGETS = drawn(seed=1, rows=6, width=4, classes=3)
NETWORK = network(ROWS, TARGETS)


@pytest.fixture
def weights() -> Vector:
    return two_layers()


def matrix(weights: Vector) -> torch.Tensor:
    """The Jacobian, written down: float [18, 35]."""
    found = torch.func.jacrev(lambda values: NETWORK.logits(shaped(values, weights)))(flat(weights))
    return torch.as_tensor(found.reshape(18, 35))


def test_both_directions_are_those_of_the_matrix_for_any_number_of_vectors(weights: Vector) -> None:
    jacobian, draws = Jacobian(NETWORK.logits, weights), torch.Generator().manual_seed(3)
    for _ in range(3):
        along, back = (torch.randn(size, generator=draws, dtype=torch.float64) for size in (35, 18))
        moved = jacobian.along(shaped(along, weights))
        assert torch.allclose(moved.reshape(-1), matrix(weights) @ along, atol=1e-12)
        assert torch.allclose(flat(jacobian.back(back.reshape(6, 3))), matrix(weights).T @ back, atol=1e-12)
        assert not moved.requires_grad


def test_the_model_is_run_once(weights: Vector) -> None:
    runs = []

    def logits(moved: Vector) -> torch.Tensor:
        runs.append(1)
        return NETWORK.logits(moved)

    jacobian = Jacobian(logits, weights)
    for _ in range(3):
        jacobian.back(jacobian.along(weights))
    assert len(runs) == 1
    assert torch.equal(jacobian.logits, NETWORK.logits(weights))


def test_the_weights_stay_as_they_are(weights: Vector) -> None:
    jacobian = Jacobian(NETWORK.logits, weights)
    jacobian.back(jacobian.along(weights))
    assert not any(weight.requires_grad or weight.grad is not None for weight in weights.values())


def test_a_weight_that_the_logits_do_not_depend_on_has_no_part() -> None:
    weights = {"unused": torch.ones(2, dtype=torch.float64), "w": torch.ones(3, 4, dtype=torch.float64)}
    jacobian = Jacobian(linear(ROWS, TARGETS).logits, weights)
    assert torch.allclose(jacobian.along(weights), ROWS @ weights["w"].T)
    back = jacobian.back(torch.ones(6, 3, dtype=torch.float64))
    assert not back["unused"].any() and torch.allclose(back["w"], ROWS.sum(0).expand(3, 4))
