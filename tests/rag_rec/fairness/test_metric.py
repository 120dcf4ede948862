"""What every metric has to hold: its likeness moves with it, and descent on the likeness makes the lists fairer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from rag_rec.fairness.exposure import Coverage, Gini, GroupUnfairness, MeanPopularity, Share, TailShare
from rag_rec.fairness.groups import Groups, bands, head
from rag_rec.fairness.metric import Metric, change, measured
from rag_rec.fairness.parity import AccuracyGap, CalibrationGap, ExposureGap
from rag_rec.fairness.served import Floats, Served, shares

ITEMS, PEOPLE, LENGTH = 60, 600, 10
DRAWS = np.random.default_rng(0)
POPULARITY = np.sort(DRAWS.zipf(1.5, ITEMS).clip(max=500))[::-1].copy()
CHOSEN = DRAWS.choice(ITEMS, PEOPLE, p=POPULARITY**0.5 / (POPULARITY**0.5).sum())
GENDER = Groups.by(["m", "w"] * (PEOPLE // 2))
CATEGORY = Groups.by([("Drama", "War", "Comedy")[item % 3] for item in range(ITEMS)])
HISTORIES = DRAWS.dirichlet([4.0, 4.0, 1.0], PEOPLE)
HEAD, BANDS = head(POPULARITY), bands(POPULARITY)
OF_CHOICES = shares(CHOSEN, HEAD)
METRICS: list[Metric] = [
    Share("popularity", HEAD, float(OF_CHOICES[0])),
    TailShare(HEAD, float(OF_CHOICES[1])),
    MeanPopularity(POPULARITY, float(POPULARITY[CHOSEN].mean())),
    GroupUnfairness("mgu", BANDS, shares(CHOSEN, BANDS)),
    GroupUnfairness("dgu", BANDS, shares(CHOSEN, BANDS), spread=True),
    GroupUnfairness("category", CATEGORY, shares(CHOSEN, CATEGORY)),
    Gini(),
    Coverage(),
    AccuracyGap("gender:ndcg", GENDER),
    AccuracyGap("gender:hr", GENDER, hits=True),
    ExposureGap("gender:dp", GENDER, CATEGORY),
    CalibrationGap("gender:calibration", GENDER, CATEGORY, HISTORIES),
]
NAMES = [metric.name for metric in METRICS]
OF_LISTS = [metric for metric in METRICS if not isinstance(metric, AccuracyGap)]
"""The others are of ranks."""


def bent(strength: float, seed: int = 1) -> Floats:
    """Log-scores, float64 [people, items], that favour popular items, War for women, and what men choose."""
    scores = np.random.default_rng(seed).normal(size=(PEOPLE, ITEMS))
    scores += 0.5 * strength * np.log(POPULARITY)
    women = (GENDER.of == 1)[:, None]
    scores += strength * (women & (CATEGORY.of == 2)[None, :])
    scores[np.flatnonzero(~women), CHOSEN[~women[:, 0]]] += strength
    return scores


def lists_of(scores: Floats) -> Served:
    return Served.of(np.argsort(-scores, axis=1, kind="stable")[:, :LENGTH], CHOSEN, ITEMS)


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_the_likeness_moves_with_the_figure(metric: Metric) -> None:
    figures, soft = [], []
    for strength in np.linspace(0.0, 3.0, 16):
        scores = bent(float(strength))
        served = lists_of(scores)
        figures.append(metric.of(served))
        soft.append(float(metric.soft(torch.softmax(torch.tensor(scores), dim=1), served)))
    assert spearmanr(figures, soft).statistic > 0.8


def error_of(metric: Metric) -> float:
    """How far the likeness is from the figure on the mean."""
    away = []
    for strength in np.linspace(0.0, 3.0, 16):
        scores = bent(float(strength))
        served = lists_of(scores)
        likely = torch.softmax(torch.tensor(scores), dim=1)
        away.append(abs(metric.of(served) - float(metric.soft(likely, served))))
    return float(np.mean(away))


@pytest.mark.parametrize("metric", OF_LISTS, ids=[metric.name for metric in OF_LISTS])
def test_the_likeness_of_lists_is_nearer_than_that_of_probabilities(
    metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = error_of(metric)
    for module in ("exposure", "parity"):
        monkeypatch.setattr(f"rag_rec.fairness.{module}.places", lambda likely, length: length * likely)
    assert near < 0.5 * error_of(metric)


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_descent_on_the_likeness_makes_the_lists_fairer(metric: Metric) -> None:
    start = bent(1.5)
    scores = torch.tensor(start, requires_grad=True)
    steps = torch.optim.Adam([scores], lr=0.05)
    before = lists_of(start)
    for _ in range(60):
        steps.zero_grad()
        away = (metric.soft(torch.softmax(scores, dim=1), before) - metric.fair) ** 2
        torch.autograd.backward(away)
        steps.step()
    after = lists_of(scores.detach().numpy())
    assert abs(metric.of(after) - metric.fair) < abs(metric.of(before) - metric.fair)


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_a_figure_lies_within_its_span_and_its_interval_about_it(metric: Metric) -> None:
    found = measured(metric, lists_of(bent(1.0)), POPULARITY, 0)
    least, greatest = found.span
    for value in (found.value, found.fair, found.random, found.popular, *found.interval):
        assert least <= value <= greatest
    assert found.interval[0] < found.interval[1]
    assert found.interval[0] <= found.value <= found.interval[1]
    assert found.gap == abs(found.value - found.fair)


def test_a_figure_of_few_people_is_told_beside_that_of_lists_drawn_at_random() -> None:
    metric = ExposureGap("gender:dp", GENDER, CATEGORY)
    few = lists_of(bent(0.0)).taken(np.arange(10))
    assert measured(metric, few, POPULARITY, 0).random > 0.02  # nothing but chance


def test_a_change_is_of_the_same_people() -> None:
    metric, before, after = METRICS[0], lists_of(bent(2.0)), lists_of(bent(0.5))
    value, (low, high) = change(metric, before, after, 0)
    assert value == pytest.approx(abs(metric.of(after) - metric.fair) - abs(metric.of(before) - metric.fair))
    assert low < value < high < 0.0
    assert change(metric, before, before, 0) == (0.0, (0.0, 0.0))


@dataclass(frozen=True)
class FirstPlaces:
    """A metric of one's own, as the docs show it: how many different items are first."""

    name: str = "first places"
    fair: float = 1.0
    span: tuple[float, float] = (0.0, 1.0)

    def of(self, served: Served) -> float:
        return len(np.unique(served.lists[:, 0])) / len(served.lists)

    def soft(self, likely: Tensor, served: Served) -> Tensor:
        del served
        return (1.0 - torch.exp(-likely.sum(dim=0))).sum() / len(likely)


def test_a_metric_of_ones_own_needs_nothing_else() -> None:
    own: Metric = FirstPlaces()
    found = measured(own, lists_of(bent(0.0)), POPULARITY, 0)
    assert found.popular == 1 / PEOPLE < found.value
