from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.debias.mask import Mask, Scores, mask, path

DRAWS = np.random.default_rng(0)


def scores(count: int, seed: int = 0, people: int = 0) -> Scores:
    draws = np.random.default_rng(seed)
    owners = np.arange(count) % (people or count)
    return Scores(draws.normal(size=count), draws.normal(size=count), owners, np.zeros(count, dtype=np.bool_))


def by_trial(given_: Scores, most: int, loss: float) -> float:
    """The least unfairness of all masks."""
    best = 0.0
    for rows in itertools.product([False, True], repeat=len(given_.loss)):
        chosen = np.array(rows)
        if chosen.sum() <= most and given_.loss[chosen].sum() <= loss:
            best = min(best, float(given_.unfairness[chosen].sum()))
    return best


@given(st.integers(0, 200), st.integers(0, 10), st.floats(0.0, 2.0))
def test_a_mask_keeps_its_limits_and_is_nearly_the_best(seed: int, most: int, loss: float) -> None:
    """The program may take a part of one sample, and the mask takes it whole or not: that much it may miss."""
    found = scores(10, seed)
    chosen = mask(found, most, loss)
    assert chosen.count <= most
    assert chosen.loss <= loss
    assert chosen.unfairness == pytest.approx(float(found.unfairness[chosen.rows].sum()))
    best = by_trial(found, most, loss)
    assert best <= chosen.unfairness + 1e-9
    assert chosen.unfairness <= best + 2.0 * np.abs(found.unfairness).max()


def test_without_a_price_of_accuracy_the_fairest_go() -> None:
    found = replace(scores(50), loss=np.zeros(50))
    chosen = mask(found, 5, 0.0)
    assert set(np.flatnonzero(chosen.rows)) == set(np.argsort(found.unfairness)[:5])


def test_what_makes_nothing_fairer_stays_and_a_price_keeps_what_helps_little() -> None:
    found = replace(scores(50), loss=np.zeros(50))
    assert mask(found, 50, 0.0).count == (found.unfairness < 0).sum()
    assert mask(found, 50, 0.0, price=0.5).count == (found.unfairness < -0.5).sum()


def test_it_is_no_worse_than_a_sigmoid_that_descends() -> None:
    """As masks are learned in papers: soft, with penalties for what is over the limits, then made hard."""
    found, most, loss = scores(400, seed=3), 40, 5.0
    unfairness, lost = torch.as_tensor(found.unfairness), torch.as_tensor(found.loss)
    logits = torch.zeros(400, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.05)
    for _ in range(1500):
        soft = torch.sigmoid(logits)
        value = unfairness @ soft + 10.0 * torch.relu(lost @ soft - loss) + 10.0 * torch.relu(soft.sum() - most)
        adam.zero_grad()
        torch.autograd.backward(value)
        adam.step()
    order = np.argsort(-logits.detach().numpy())
    hard = np.zeros(400, dtype=np.bool_)
    for one in order[:most].tolist():
        hard[one] = found.loss[hard].sum() + found.loss[one] <= loss
    chosen = mask(found, most, loss)
    assert chosen.unfairness <= float(found.unfairness[hard].sum()) + 1e-9


def test_the_protected_stay() -> None:
    found = scores(60)
    guarded = replace(found, protected=found.unfairness < -1.0)
    chosen = mask(guarded, 60, 1.0)
    assert chosen.count
    assert not (chosen.rows & guarded.protected).any()


def test_people_go_whole_or_not_at_all_and_none_of_whom_a_choice_is_protected() -> None:
    found = replace(scores(60, people=15), tied=True)
    chosen = mask(found, 20, 1.0)
    assert 0 < chosen.count <= 20
    for person in range(15):
        assert chosen.rows[found.person == person].all() or not chosen.rows[found.person == person].any()
    first = int(found.person[chosen.rows][0])
    protected = np.zeros(60, dtype=np.bool_)
    protected[np.flatnonzero(found.person == first)[0]] = True
    assert not mask(replace(found, protected=protected), 20, 1.0).rows[found.person == first].any()


def test_the_more_may_go_the_fairer() -> None:
    found: list[Mask] = path(scores(300, seed=1), [3, 10, 30, 100, 300], 2.0)
    unfairness = [each.unfairness for each in found]
    assert unfairness == sorted(unfairness, reverse=True)
    assert all(each.loss <= 2.0 for each in found)


def test_where_every_sample_costs_too_much_nothing_goes() -> None:
    found = Scores(np.array([-1.0, -2.0]), np.array([1.0, 1.0]), np.arange(2), np.zeros(2, dtype=np.bool_))
    assert mask(found, 2, 0.5).count == 0
    assert mask(found, 0, 5.0).count == 0
