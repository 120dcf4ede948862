from __future__ import annotations

import itertools

import numpy as np
import pytest

from rag_rec.errors import InvalidInput
from rag_rec.fairness.controlling import Aim, Order, cross_fitted, learned
from rag_rec.fairness.exposure import GroupUnfairness, Share
from rag_rec.fairness.groups import NONE, Groups, head
from rag_rec.fairness.served import NO_ITEM, shares

ITEMS, PEOPLE, WIDTH, LENGTH = 40, 300, 20, 5
POPULARITY = np.arange(ITEMS, 0, -1)
HEAD = head(POPULARITY)
CATEGORY = Groups.by([("Drama", "War", "Comedy")[item % 3] for item in range(ITEMS)])


def order(pull: float = 2.0, groups: Groups = HEAD, seed: int = 0) -> Order:
    """People choose what they like; scores know it, and add a pull towards the first group beyond it."""
    draws = np.random.default_rng(seed)
    items = np.stack([draws.permutation(ITEMS)[:WIDTH] for _ in range(PEOPLE)])
    likes = draws.normal(size=items.shape)
    chosen = items[np.arange(PEOPLE), (likes + draws.gumbel(size=items.shape)).argmax(axis=1)]
    scores = likes + pull * (groups.of[items] == 0)
    scores[:, -1], items[:, -1] = -np.inf, NO_ITEM
    of = np.where(items == NO_ITEM, NONE, groups.of[items])
    return Order(items, scores, of[None], chosen, np.arange(PEOPLE), ITEMS, LENGTH)


def aim(found: Order, budget: float = 0.05) -> Aim:
    return Aim([Share("popularity", HEAD, float(shares(found.chosen, HEAD)[0]))], budget)


def test_a_pull_beyond_what_people_like_is_taken_back() -> None:
    found = order()
    [strengths] = learned(found, aim(found), [2])
    assert strengths[0] == pytest.approx(2.0, abs=0.5)
    assert strengths[1] == 0.0
    before, after = found.served(), found.served([strengths])
    assert aim(found).gaps(after)[0] < 0.2 * aim(found).gaps(before)[0]
    assert after.gains.mean() > before.gains.mean()


def test_what_was_learned_holds_for_people_it_was_not_learned_from() -> None:
    found = order()
    judged = cross_fitted(found, aim(found), [2], seed=0)
    assert aim(found).gaps(judged)[0] < 0.3 * aim(found).gaps(found.served())[0]
    assert np.array_equal(cross_fitted(found, aim(found), [2], seed=0).lists, judged.lists)


def test_no_step_costs_more_than_the_budget() -> None:
    """What people like is in the head: fairness towards the tail has a price."""
    found = order(pull=0.0)
    tail = Share("popularity", HEAD, 0.0)
    for budget in (0.0, 0.02, 0.2):
        held = Aim([tail], budget)
        [strengths] = learned(found, held, [2])
        before, after = found.served(), found.served([strengths])
        assert held.affordable(before.gains, after.gains)
        assert held.gaps(after)[0] <= held.gaps(before)[0]
    assert strengths[0] > 0


def test_the_search_finds_what_a_grid_finds() -> None:
    found = order(pull=1.5, groups=CATEGORY)
    figure = GroupUnfairness("exposure:category", CATEGORY, shares(found.chosen, CATEGORY))
    held = Aim([figure], 0.05)
    [strengths] = learned(found, held, [3])
    grid = itertools.product(np.linspace(0.0, 3.0, 13), repeat=3)
    gains = found.served().gains
    reached = [found.served([np.array(each)]) for each in grid]
    best = min(figure.of(served) for served in reached if held.affordable(gains, served.gains))
    assert figure.of(found.served([strengths])) <= best + 0.01


def test_a_list_is_not_filled_up_with_what_is_not_there() -> None:
    few = order()
    few.scores[:, 3:], few.items[:, 3:] = -np.inf, NO_ITEM
    lists = few.served([np.array([1.0, 0.0])]).lists
    assert (lists[:, 3:] == NO_ITEM).all()
    assert (lists[:, :3] != NO_ITEM).all()


def test_an_aim_without_a_figure_or_with_no_budget_is_refused() -> None:
    with pytest.raises(InvalidInput, match="named"):
        Aim([], 0.01)
    with pytest.raises(InvalidInput, match="budget"):
        Aim([Share("popularity", HEAD, 0.5)], 1.0)
