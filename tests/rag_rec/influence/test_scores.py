from __future__ import annotations

import pytest
import torch

from rag_rec.errors import InvalidInput
from rag_rec.influence.scores import checked_scores, scores
from rag_rec.influence.vectors import dot, scaled
from tests.rag_rec.influence.models import drawn, network

ROWS, TARGETS = drawn(seed=7, rows=9, width=4, classes=3)
WEIGHTS = {
    name: torch.randn(shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    for name, shape in {"u": (5, 4), "w": (3, 5)}.items()
}
BATCHES = [network(ROWS[:4], TARGETS[:4]), network(ROWS[4:], TARGETS[4:])]
DIRECTION = {name: torch.ones_like(tensor) for name, tensor in WEIGHTS.items()}


def one_by_one() -> list[float]:
    alone = [network(ROWS[place : place + 1], TARGETS[place : place + 1]) for place in range(len(ROWS))]
    return [dot(sample.gradient(WEIGHTS), DIRECTION) for sample in alone]


def test_they_are_the_products_with_each_gradient() -> None:
    assert torch.allclose(scores(WEIGHTS, BATCHES, DIRECTION, 1e-4), torch.tensor(one_by_one()).double(), atol=1e-6)
    assert torch.allclose(checked_scores(WEIGHTS, BATCHES, DIRECTION), torch.tensor(one_by_one()).double(), atol=1e-3)


def test_they_grow_with_the_direction() -> None:
    twice = scores(WEIGHTS, BATCHES, scaled(DIRECTION, 2.0), 1e-4)
    assert torch.allclose(twice, 2.0 * scores(WEIGHTS, BATCHES, DIRECTION, 1e-4))


def test_no_direction_pulls_nothing() -> None:
    assert not scores(WEIGHTS, BATCHES, scaled(DIRECTION, 0.0), 1e-4).any()


def test_widths_that_disagree_are_refused() -> None:
    steep = {name: 300.0 * tensor for name, tensor in WEIGHTS.items()}
    rough = [network(ROWS * 50.0, TARGETS)]
    with pytest.raises(InvalidInput, match="do not agree"):
        checked_scores(steep, rough, DIRECTION)
