from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from rag_rec.debias.linear import Linear
from rag_rec.influence.curvature import Samples, count_of
from rag_rec.influence.newton import Drawn, Newton
from rag_rec.influence.vectors import Vector, add, dot
from tests.rag_rec.influence.models import dense, drawn, flat, linear, shaped

ROWS, WIDTH, CLASSES, DECAY = 240, 4, 3, 0.05
FEATURES, TARGETS = drawn(seed=5, rows=ROWS, width=WIDTH, classes=CLASSES)
OTHERS, ANSWERS = drawn(seed=6, rows=200, width=WIDTH, classes=CLASSES)
GROUP = (OTHERS[:, 0] > 0).double()


def trained(keep: Tensor) -> dict[str, Tensor]:
    """The minimum of the mean loss of some samples with a decay, by Newton's method: what a training would find."""
    weights = {"w": torch.zeros(CLASSES, WIDTH, dtype=torch.float64)}
    kept = linear(FEATURES[keep], TARGETS[keep])
    for _ in range(12):
        gradient = flat(kept.gradient(weights)) / ROWS + DECAY * flat(weights)
        curved = dense(weights, [kept]) * len(kept.targets) / ROWS + DECAY * torch.eye(CLASSES * WIDTH).double()
        weights = add(weights, shaped(torch.linalg.solve(curved, gradient), weights), -1.0)
    return weights


EVERYTHING = trained(torch.ones(ROWS, dtype=torch.bool))
BATCHES = [linear(FEATURES[:100], TARGETS[:100]), linear(FEATURES[100:], TARGETS[100:])]


def head_share(weights: Vector) -> Tensor:
    """How much is shown of the first class: popularity."""
    return torch.softmax(OTHERS @ weights["w"].T, dim=1)[:, 0].mean()


def parity(weights: Vector) -> Tensor:
    """By how much two groups of people differ in it."""
    shown = torch.softmax(OTHERS @ weights["w"].T, dim=1)[:, 0]
    return (shown * GROUP).sum() / GROUP.sum() - (shown * (1 - GROUP)).sum() / (1 - GROUP).sum()


def loss(weights: Vector) -> Tensor:
    """Of others than were learned from."""
    return torch.nn.functional.cross_entropy(OTHERS @ weights["w"].T, ANSWERS)


def slope(figure: object, weights: Vector) -> dict[str, Tensor]:
    assert callable(figure)
    at = {name: weight.clone().requires_grad_(True) for name, weight in weights.items()}
    return {"w": torch.autograd.grad(figure(at), at["w"])[0]}


@pytest.fixture
def at() -> Linear:
    few = [linear(FEATURES[place : place + 2], TARGETS[place : place + 2]) for place in range(0, ROWS, 2)]
    return Linear(EVERYTHING, BATCHES, Newton(EVERYTHING, Drawn(BATCHES, few), 0), DECAY)


@pytest.mark.parametrize("figure", [head_share, parity, loss])
def test_scores_tell_what_a_training_without_the_samples_would_change(at: Linear, figure: object) -> None:
    """Groups of samples are left out; each training is exact."""
    assert callable(figure)
    found = at.scores(slope(figure, EVERYTHING))
    draws, before = np.random.default_rng(0), float(figure(EVERYTHING))
    real, told = [], []
    order = np.argsort(found)
    for part in range(30):
        rows = order[part * 8 : part * 8 + 8] if part % 2 else draws.permutation(ROWS)[:8]
        keep = torch.ones(ROWS, dtype=torch.bool)
        keep[rows] = False
        real.append(float(figure(trained(keep))) - before)
        told.append(float(found[rows].sum()))
    assert float(spearmanr(real, told).statistic) >= 0.95
    assert np.polyfit(told, real, 1)[0] == pytest.approx(1.0, abs=0.15)


def test_scores_add_up_to_what_the_step_does(at: Linear) -> None:
    gradient = slope(head_share, EVERYTHING)
    found = at.scores(gradient)
    rows = found < np.quantile(found, 0.1)
    assert dot(gradient, at.step(rows)) == pytest.approx(float(found[rows].sum()), rel=1e-3)


def test_a_sample_counts_as_much_as_in_the_training(at: Linear) -> None:
    shares = torch.full((100,), 0.5)
    halved = [Samples(BATCHES[0].logits, BATCHES[0].targets, shares), BATCHES[1]]
    other = Linear(at.deltas, halved, at.newton, at.damping)
    gradient = slope(loss, EVERYTHING)
    whole, half = at.scores(gradient) * count_of(BATCHES), other.scores(gradient) * count_of(halved)
    assert np.allclose(half[:100], 0.5 * whole[:100], atol=1e-6)
    assert np.allclose(half[100:], whole[100:], atol=1e-6)


def test_nothing_that_goes_and_nothing_that_is_wanted_move_nothing(at: Linear) -> None:
    assert not any(step.any() for step in at.step(np.zeros(ROWS, dtype=np.bool_)).values())
    assert not at.scores({"w": torch.zeros_like(EVERYTHING["w"])}).any()
