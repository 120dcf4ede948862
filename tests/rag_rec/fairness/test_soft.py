from __future__ import annotations

import numpy as np
import pytest
import torch

from rag_rec.fairness.soft import places, ranks


def likely(seed: int = 0, people: int = 7, items: int = 40, spread: float = 3.0) -> torch.Tensor:
    scores = torch.tensor(np.random.default_rng(seed).normal(scale=spread, size=(people, items)))
    return torch.softmax(scores, dim=1)


@pytest.mark.parametrize("length", [1, 5, 39])
@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
def test_every_list_is_as_long_as_it_is_to_be(length: int, spread: float) -> None:
    found = places(likely(spread=spread), length)
    assert torch.allclose(found.sum(dim=1), torch.full((7,), float(length), dtype=torch.float64), atol=1e-5)
    assert bool(((found >= 0.0) & (found <= 1.0)).all())


def test_items_that_lie_apart_are_in_or_out() -> None:
    far = torch.softmax(torch.arange(0.0, 80.0, 4.0, dtype=torch.float64)[None, :], dim=1)
    assert torch.allclose(places(far, 5)[0, -5:], torch.ones(5, dtype=torch.float64), atol=1e-3)
    assert float(places(far, 5)[0, :-5].sum()) < 1e-2


def test_where_there_are_no_more_items_all_are_in() -> None:
    assert bool((places(likely(items=4), 10) == 1.0).all())


def test_derivatives_are_those_of_finite_differences() -> None:
    start = likely(1, people=2, items=12, spread=1.0)
    weights = torch.tensor(np.random.default_rng(2).normal(size=(2, 12)))

    def figure(probabilities: torch.Tensor) -> torch.Tensor:
        return (weights * places(probabilities, 4)).sum()

    asked = start.clone().requires_grad_()
    (found,) = torch.autograd.grad(figure(asked), asked)
    for row, item in ((0, 0), (0, 7), (1, 3), (1, 11)):
        step = torch.zeros_like(start)
        step[row, item] = 1e-4 * start[row, item]
        expected = (figure(start + step) - figure(start - step)) / (2.0 * step[row, item])
        assert float(found[row, item]) == pytest.approx(float(expected), rel=1e-4)


def test_ranks_are_near_the_places_of_items_that_lie_apart() -> None:
    scores = torch.tensor(np.random.default_rng(3).permuted(np.tile(np.arange(0.0, 60.0, 3.0), (5, 1)), axis=1))
    chosen = np.array([0, 4, 9, 13, 19])
    order = torch.argsort(-scores, dim=1)
    expected = [int((order[row] == item).nonzero()) for row, item in enumerate(chosen.tolist())]
    found = ranks(torch.softmax(scores, dim=1), chosen)
    assert found.tolist() == pytest.approx(expected, abs=1e-3)
