from __future__ import annotations

import torch

from rag_rec.influence.vectors import add, dot, norm, scaled, zeros

ONE = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3.0]])}
OTHER = {"a": torch.tensor([0.5, -1.0]), "b": torch.tensor([[2.0]])}


def test_they_add_up_over_all_weights() -> None:
    assert dot(ONE, OTHER) == 0.5 - 2.0 + 6.0
    assert norm(ONE) == 14.0**0.5
    assert add(ONE, OTHER, 2.0)["b"].item() == 7.0
    assert scaled(ONE, -1.0)["a"].tolist() == [-1.0, -2.0]
    assert norm(zeros(ONE)) == 0.0


def test_small_parts_are_not_lost_in_a_long_sum() -> None:
    long = {"a": torch.full((1_000_000,), 1e-4)}
    assert abs(dot(long, long) - 1e-2) < 1e-8
