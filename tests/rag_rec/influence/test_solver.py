from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.errors import InvalidInput
from rag_rec.influence.solver import Product, solve


def operator(matrix: torch.Tensor) -> Product:
    return lambda vector: {"x": matrix @ vector["x"]}


@given(seed=st.integers(0, 10**6), size=st.integers(1, 9), rank=st.integers(0, 9), damping=st.floats(1e-3, 10.0))
def test_it_finds_what_the_matrix_gives(seed: int, size: int, rank: int, damping: float) -> None:
    draws = torch.Generator().manual_seed(seed)
    factor = torch.randn(size, min(rank, size), generator=draws, dtype=torch.float64)
    matrix, right = factor @ factor.T, torch.randn(size, generator=draws, dtype=torch.float64)
    found = solve(operator(matrix), {"x": right}, damping, iterations=200, tolerance=1e-10)
    exact = torch.linalg.solve(matrix + damping * torch.eye(size, dtype=torch.float64), right)
    assert found.residual <= 1e-10
    assert torch.allclose(found.vector["x"], exact, rtol=1e-6, atol=1e-8)


def test_a_solve_that_was_cut_short_says_what_is_left() -> None:
    matrix, right = torch.diag(torch.arange(1.0, 30.0, dtype=torch.float64)), torch.ones(29, dtype=torch.float64)
    found = solve(operator(matrix), {"x": right}, damping=0.1, iterations=4)
    left = right - (matrix @ found.vector["x"] + 0.1 * found.vector["x"])
    assert found.iterations == 4
    assert found.residual == pytest.approx(float(left.norm() / right.norm()))
    assert found.residual > 1e-3


def test_without_an_iteration_all_is_left() -> None:
    found = solve(operator(torch.eye(3)), {"x": torch.ones(3)}, damping=1.0, iterations=0)
    assert (found.residual, found.iterations) == (1.0, 0)
    assert not found.vector["x"].any()


def test_nothing_is_solved_by_nothing() -> None:
    found = solve(operator(torch.eye(3)), {"x": torch.zeros(3)}, damping=1.0, iterations=5)
    assert (found.residual, found.iterations) == (0.0, 0)
    assert not found.vector["x"].any()


@pytest.mark.parametrize("matrix", [-2.0 * torch.eye(3), torch.full((3, 3), torch.nan)])
def test_an_operator_that_is_negative_or_broken_is_refused(matrix: torch.Tensor) -> None:
    with pytest.raises(InvalidInput, match="larger damping"):
        solve(operator(matrix), {"x": torch.ones(3)}, damping=0.5, iterations=5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(InvalidInput, match="not finite"):
        solve(operator(torch.eye(3)), {"x": torch.full((3,), value)}, damping=1.0, iterations=5)


@pytest.mark.parametrize("damping", [0.0, -1.0, float("nan")])
def test_a_damping_that_bounds_nothing_is_refused(damping: float) -> None:
    with pytest.raises(InvalidInput, match="above 0"):
        solve(operator(torch.eye(3)), {"x": torch.ones(3)}, damping=damping, iterations=5)
