"""A search over weights that are the opinions themselves: what each sample does is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rag_rec.debias.order import FusedOrder, Wanted
from rag_rec.debias.search import LENGTHS, Limits, Search
from rag_rec.errors import InvalidInput
from rag_rec.fairness.controlling import Order
from rag_rec.fairness.exposure import Share
from rag_rec.fairness.groups import head
from rag_rec.fairness.metric import Metric

ITEMS, PEOPLE, LENGTH, SAMPLES = 20, 120, 4, 300
DRAWS = np.random.default_rng(0)
LIKES = DRAWS.normal(size=(PEOPLE, ITEMS))
CHOSEN = (LIKES + DRAWS.gumbel(size=LIKES.shape)).argmax(axis=1)
HEAD = head(np.arange(ITEMS, 0, -1))
CANDIDATES = np.tile(np.arange(ITEMS), (PEOPLE, 1))
ORDER = FusedOrder(
    Order(
        CANDIDATES, np.zeros(LIKES.shape), np.zeros((0, PEOPLE, ITEMS), int), CHOSEN, np.arange(PEOPLE), ITEMS, LENGTH
    ),
    0.0,
    np.zeros(LIKES.shape),
)
POPULARITY = Share("popularity", HEAD, float((CHOSEN < 4).mean()))
FAULTY = np.arange(SAMPLES) < 60
"""Each of these samples pushed the head; the others taught what people like."""


class Asked:
    """The opinion of an item is what people like of it, and a push of the head."""

    def opinions(self, deltas: Mapping[str, Tensor]) -> Tensor:
        pushed = torch.as_tensor(HEAD.of == 0).float() * deltas["push"]
        return torch.log_softmax(torch.as_tensor(LIKES).float() * deltas["taste"] + pushed, dim=1)

    def back(self, deltas: Mapping[str, Tensor], slopes: Tensor) -> dict[str, Tensor]:
        at = {name: each.clone().requires_grad_(True) for name, each in deltas.items()}
        found = torch.autograd.grad((self.opinions(at) * slopes).sum(), list(at.values()))
        return dict(zip(at, found, strict=True))


class Known:
    """Each faulty sample that goes takes a part of the push away; each other one a part of the taste."""

    SHARES = np.where(FAULTY, 2.0 / 60, 1.0 / 240)

    def scores(self, gradient: Mapping[str, Tensor]) -> Any:
        return -np.where(FAULTY, float(gradient["push"]), float(gradient["taste"])) * self.SHARES

    def step(self, rows: Any) -> dict[str, Tensor]:
        gone = rows * self.SHARES
        return {"push": torch.tensor(-gone[FAULTY].sum()), "taste": torch.tensor(-gone[~FAULTY].sum())}


BEGIN = {"push": torch.tensor(2.0), "taste": torch.tensor(1.0)}


def search(limits: Limits, *figures: Metric, protected: Any = None) -> Search:
    questions: Any = Asked()
    barred = np.zeros(SAMPLES, dtype=np.bool_) if protected is None else protected
    wanted = Wanted(list(figures) or [POPULARITY], [1.0] * (len(figures) or 1))
    return Search(questions, ORDER, ORDER, wanted, np.arange(SAMPLES), barred, limits, dict)


def run(found: Search) -> Any:
    known: Any = Known()
    return found.run(lambda _: known, BEGIN)


def test_what_pushed_the_head_is_found_and_goes() -> None:
    found = run(search(Limits(most=0.2)))
    assert found.rows[FAULTY].sum() > 40
    assert not found.rows[~FAULTY].any()
    assert found.rounds[-1].gaps["popularity"] < 0.25 * found.before["popularity"]
    assert found.rounds[-1].accuracy > float(ORDER.served(Asked().opinions(BEGIN)).gains.mean())
    assert found.predicted["popularity"] < 0.0
    assert all(each.length in {0.0, *LENGTHS} for each in found.rounds)


def test_rounds_share_out_what_may_go_and_nothing_goes_twice() -> None:
    found = run(search(Limits(most=0.1, rounds=2)))
    taken = [each.count for each in found.rounds if each.length]
    assert all(count <= 15 for count in taken)
    assert found.rows.sum() == sum(taken)


def test_a_search_that_finds_nothing_stops_and_stays() -> None:
    """What is protected is all that helps."""
    found = run(search(Limits(budget=0.0), protected=FAULTY))
    assert len(found.rounds) == 1
    assert found.rounds[0].length == 0.0
    assert found.deltas == BEGIN
    assert not found.rows.any()


def test_the_path_goes_further_the_more_may_go() -> None:
    [*points] = run(search(Limits())).rounds[0].path
    unfairness = [each.unfairness for each in points]
    assert unfairness == sorted(unfairness, reverse=True)
    assert unfairness[0] < 0.0


def test_fewer_go_where_each_has_to_help_more() -> None:
    free, dear = (run(search(Limits(sparsity=sparsity))).rounds[0] for sparsity in (0.0, 1e3))
    assert free.count > dear.count == 0


def test_what_is_fair_already_is_told() -> None:
    served = ORDER.served(Asked().opinions(BEGIN))
    fair = Share("popularity", HEAD, POPULARITY.of(served))
    with pytest.raises(InvalidInput, match="fair already"):
        run(search(Limits(), fair))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"most": 0.0}, "above 0"),
        ({"budget": 1.0}, "below 1"),
        ({"rounds": 0}, "at least 1"),
        ({"sparsity": -1.0}, "at least 0"),
    ],
)
def test_limits_that_leave_nothing_to_do_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Limits(**limits)
