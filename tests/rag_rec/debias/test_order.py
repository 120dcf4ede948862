from __future__ import annotations

import numpy as np
import pytest
import torch

from rag_rec.debias.order import FusedOrder, Wanted, accuracy, accuracy_slope
from rag_rec.fairness.controlling import Order
from rag_rec.fairness.exposure import Share
from rag_rec.fairness.groups import Groups, head
from rag_rec.fairness.parity import ExposureGap
from rag_rec.fairness.served import NO_ITEM

ITEMS, PEOPLE, WIDTH, LENGTH = 30, 40, 12, 4
DRAWS = np.random.default_rng(0)
CANDIDATES = np.stack([DRAWS.permutation(ITEMS)[:WIDTH] for _ in range(PEOPLE)])
CANDIDATES[:, -1] = NO_ITEM
SCORES = np.where(CANDIDATES == NO_ITEM, -np.inf, DRAWS.normal(size=CANDIDATES.shape))
OPINIONS = torch.as_tensor(np.where(CANDIDATES == NO_ITEM, -np.inf, DRAWS.normal(size=CANDIDATES.shape)))
CHOSEN = CANDIDATES[np.arange(PEOPLE), DRAWS.integers(WIDTH - 1, size=PEOPLE)]
HELD = np.where(CANDIDATES < 5, 0.5, 0.0)
BASE = Order(CANDIDATES, SCORES, np.zeros((0, *SCORES.shape), dtype=int), CHOSEN, np.arange(PEOPLE), ITEMS, LENGTH)
ORDER = FusedOrder(BASE, 1.5, HELD)
HEAD = head(np.arange(ITEMS, 0, -1))
GENDER = Groups.by(["m", "w"] * (PEOPLE // 2))
WANTED = Wanted([Share("popularity", HEAD, 0.0), ExposureGap("gender:dp", GENDER, HEAD)], [1.0, 3.0])


def test_the_lists_are_those_of_the_fusion_with_items_held_back() -> None:
    lists = ORDER.served(OPINIONS).lists
    for row in range(PEOPLE):
        by_hand = {
            int(item): 1.5 * SCORES[row, place] + float(OPINIONS[row, place]) - HELD[row, place]
            for place, item in enumerate(CANDIDATES[row])
            if item != NO_ITEM
        }
        assert lists[row].tolist() == sorted(by_hand, key=lambda item: -by_hand[item])[:LENGTH]


def test_what_is_likely_is_a_distribution_whose_best_are_the_lists() -> None:
    likely = ORDER.likely(OPINIONS)
    assert torch.allclose(likely.sum(dim=1), torch.ones(PEOPLE).double())
    best = torch.argsort(likely, dim=1, descending=True)[:, :LENGTH].numpy()
    assert np.array_equal(best, ORDER.served(OPINIONS).lists)
    some = np.array([3, 9])
    assert torch.equal(ORDER.taken(some).likely(OPINIONS[some]), likely[some])


def test_slopes_are_the_differences_of_the_smooth_figures() -> None:
    slopes = WANTED.slopes(ORDER, OPINIONS)
    assert set(slopes) == {"popularity", "gender:dp"}
    step = torch.nan_to_num(torch.randn(PEOPLE, WIDTH, generator=torch.Generator().manual_seed(0)).double())
    width = 1e-5
    served = ORDER.served(OPINIONS)
    ahead, behind = (ORDER.likely(OPINIONS + sign * width * step) for sign in (1.0, -1.0))
    for figure in WANTED.figures:
        by_hand = float(figure.soft(ahead, served) - figure.soft(behind, served)) / (2.0 * width)
        assert float((slopes[figure.name].double() * step).sum()) == pytest.approx(by_hand, rel=1e-3, abs=1e-6)


def test_the_slope_of_the_accuracy_goes_towards_the_answers() -> None:
    slope = accuracy_slope(ORDER, OPINIONS)
    answers = torch.as_tensor(CHOSEN[:, None] == CANDIDATES)
    assert bool((slope[answers] > 0).all())
    assert bool((slope[~answers] <= 0).all())
    likely = ORDER.likely(OPINIONS)
    by_hand = [float(torch.log(likely[person, CHOSEN[person]])) for person in range(PEOPLE)]
    assert float(accuracy(ORDER, OPINIONS)) == pytest.approx(np.mean(by_hand))


def test_the_value_is_the_weighted_mean_of_what_is_left_of_each_gap() -> None:
    before = {"popularity": 0.2, "gender:dp": 0.1}
    assert WANTED.value(before, before) == pytest.approx(1.0)
    assert WANTED.value({"popularity": 0.1, "gender:dp": 0.1}, before) == pytest.approx((0.5 + 3.0) / 4.0)
    assert WANTED.value({"popularity": 0.2, "gender:dp": 0.3}, {"popularity": 0.2, "gender:dp": 0.0}) > 1.0
