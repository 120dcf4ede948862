from __future__ import annotations

import numpy as np
import pytest

from rag_rec.errors import InvalidInput
from rag_rec.fairness.exposure import GroupUnfairness, Share
from rag_rec.fairness.named import World, grouped, named
from rag_rec.fairness.parity import AccuracyGap, CalibrationGap, ExposureGap
from rag_rec.fairness.served import Served

PEOPLE, ITEMS = 120, 10
POPULARITY = np.arange(ITEMS, 0, -1)
CHOSEN = np.arange(PEOPLE) % ITEMS
WORLD = World(
    POPULARITY,
    CHOSEN,
    [np.arange(1 + person % 3) for person in range(PEOPLE)],
    {"genre": [("Drama", "War") if item % 2 else ("War",) for item in range(ITEMS)], "flat": ["one"] * ITEMS},
    {
        "gender": ["m", "w"] * (PEOPLE // 2),
        "age": list(range(18, 18 + PEOPLE)),
        "rare": ["a"] + ["b"] * (PEOPLE - 1),
    },
)
SERVED = Served.of(np.tile(np.arange(5), (PEOPLE, 1)), CHOSEN, ITEMS)


@pytest.mark.parametrize(
    "name",
    ["popularity", "aplt", "arp", "gini", "coverage", "mgu", "dgu", "mgu-choices", "dgu-choices", "exposure:genre"]
    + [f"{people}:{kind}" for people in ("gender", "age", "activity") for kind in ("ndcg", "hr", "dp", "calibration")]
    + ["gender:dp:genre", "activity:calibration:genre", "gender+activity:hr"],
)
def test_every_name_is_that_of_its_figure(name: str) -> None:
    metric = named(name, WORLD)
    assert metric.name == name
    assert metric.span[0] <= metric.of(SERVED) <= metric.span[1]


def test_figures_are_made_of_the_world() -> None:
    share, mgu, choices = (named(name, WORLD) for name in ("popularity", "mgu", "mgu-choices"))
    assert isinstance(share, Share) and share.fair == 0.2
    assert isinstance(mgu, GroupUnfairness) and isinstance(choices, GroupUnfairness)
    assert choices.reference.tolist() == pytest.approx([0.2] * 5)
    assert mgu.reference[0] > 0.8  # of the histories
    assert isinstance(named("gender:hr", WORLD), AccuracyGap)
    parity, calibration = named("gender:dp:genre", WORLD), named("gender:calibration:genre", WORLD)
    assert isinstance(parity, ExposureGap) and parity.items.names == ("Drama", "War")
    assert isinstance(calibration, CalibrationGap)
    assert calibration.histories[:3].tolist() == [[0.0, 1.0], [0.5, 0.5], [pytest.approx(1 / 3), pytest.approx(2 / 3)]]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fairness", "no figure of fairness named 'fairness': choose from popularity"),
        ("gender:fair", "no figure of fairness"),
        ("gender:ndcg:genre", "no figure of fairness"),
        ("gender:dp:genre:more", "no figure of fairness"),
        ("exposure", "no figure of fairness"),
        ("exposure:genre:dp", "no figure of fairness"),
        ("popularity:dp", "No person has an attribute 'popularity'"),
        ("", "no figure of fairness"),
        ("colour:ndcg", "No person has an attribute 'colour': choose from activity, age, gender, rare"),
        ("exposure:colour", "No item has an attribute 'colour': choose from flat, genre"),
        ("gender:dp:colour", "No item has an attribute 'colour'"),
        ("exposure:flat", "'flat' makes no two groups, all have 'one'"),
        ("rare:ndcg", "'a' has 1"),
        ("gender+rare:ndcg", "fewer than 10"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_it_says_what_can(name: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        named(name, WORLD)


def test_many_numbers_are_put_in_quarters() -> None:
    groups = grouped([*range(18, 58), None, "unknown"])
    assert groups.names == ("18 to 27", "28 to 37", "38 to 47", "48 to 57")
    assert np.bincount(groups.of[:40]).tolist() == [10, 10, 10, 10]
    assert groups.of[40:].tolist() == [-1, -1]


def test_equal_numbers_are_not_parted() -> None:
    groups = grouped([1] * 30 + [2, 3, 4, 5, 6, 7, 8.5])
    assert groups.names == ("1", "2 to 8.5")


def test_few_values_are_groups_of_their_own() -> None:
    assert grouped([1, 2, True, False, None]).names == ("1", "2", "False", "True")
    assert grouped([("Drama", "War"), (), ("War",), None]).of.tolist() == [0, -1, 1, -1]
