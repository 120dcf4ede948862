from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import orjson
import pytest

from rag_rec.fairness.control import MOST_GROUPS, POPULARITY, Control, Grouping, Strengths, most_shown
from rag_rec.fairness.groups import NONE, Groups, bands, head

POPULARITY_OF = np.array([9, 1, 4, 0, 7, 2, 8, 3, 6, 5])


@pytest.mark.parametrize("whole", [False, True])
def test_groups_by_popularity_are_those_of_the_figures_whatever_the_scale(whole: bool) -> None:
    grouping = Grouping.by_popularity(POPULARITY_OF, whole=whole)
    expected = bands(POPULARITY_OF) if whole else head(POPULARITY_OF)
    assert grouping.names == expected.names
    for scale in (1, 3):
        popularity = scale * POPULARITY_OF
        assert grouping.of_popularity(popularity, float(popularity.mean())).tolist() == expected.of.tolist()


def test_an_item_that_is_liked_less_leaves_the_head() -> None:
    grouping = Grouping.by_popularity(POPULARITY_OF, whole=False)
    later = POPULARITY_OF.copy()
    later[0] = 1
    assert grouping.of_popularity(later[:1], float(POPULARITY_OF.mean())).tolist() == [1]


def test_groups_of_values_take_the_first_of_a_list_and_new_values_have_none() -> None:
    grouping = Grouping("genre", ("Drama", "War"))
    assert grouping.of_values(["War", ("Drama", "War"), (), None, "Western"]).tolist() == [1, 0, NONE, NONE, NONE]


def test_an_item_without_a_group_is_not_held_back() -> None:
    strengths = Strengths(Grouping("genre", ("Drama", "War")), (0.0, 0.5), (0.25, 0.0))
    of = np.array([0, 1, NONE])
    assert strengths.back(of, fused=True).tolist() == [0.0, 0.5, 0.0]
    assert strengths.back(of, fused=False).tolist() == [0.25, 0.0, 0.0]
    assert strengths.named(fused=True) == {"genre=War": 0.5}


def control() -> Control:
    by = Strengths(Grouping.by_popularity(POPULARITY_OF, whole=False), (0.5, 0.0), (0.1, 0.0))
    return Control(("popularity",), 0.01, (by,), {"fused": {"kept": True}})


def test_a_control_survives_being_written() -> None:
    assert Control.parse(orjson.loads(orjson.dumps(asdict(control())))) == control()
    assert control().named(fused=False) == {f"{POPULARITY}=head": 0.1}
    assert not control().idle
    [by] = control().strengths
    assert replace(control(), strengths=(replace(by, fused=(0.0, 0.0), candidates=(0.0, 0.0)),)).idle


@pytest.mark.parametrize(("name", "value"), [("fused", [0.5]), ("candidates", [0.1, float("nan")])])
def test_strengths_that_do_not_fit_are_refused(name: str, value: list[float]) -> None:
    fields = asdict(control())
    fields["strengths"][0][name] = value
    with pytest.raises(ValueError, match="strengths"):
        Control.parse(fields)


def test_limits_that_do_not_fit_are_refused() -> None:
    fields = asdict(control())
    fields["strengths"][0]["grouping"]["limits"] = [2.0, 1.0]
    with pytest.raises(ValueError, match="limits"):
        Control.parse(fields)


def test_of_many_groups_those_shown_most_have_a_strength() -> None:
    groups = Groups.by([f"shop {number:03d}" for number in range(MOST_GROUPS + 20)])
    shown = np.repeat(np.arange(MOST_GROUPS + 10), np.arange(MOST_GROUPS + 10) + 1)
    assert most_shown(groups, shown) == tuple(f"shop {number:03d}" for number in range(10, MOST_GROUPS + 10))
