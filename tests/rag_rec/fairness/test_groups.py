from __future__ import annotations

import numpy as np
import pytest

from rag_rec.errors import InvalidInput
from rag_rec.fairness.groups import NONE, Groups, activity, bands, head


def test_values_make_groups_in_the_order_of_their_names() -> None:
    groups = Groups.by(["w", None, "m", "w"])
    assert groups.names == ("m", "w")
    assert groups.of.tolist() == [1, NONE, 0, 1]
    assert len(groups) == 2


def test_crossed_groups_are_those_that_occur() -> None:
    found = Groups.by(["m", "w", "m", None]).crossed(Groups.by(["young", "old", "young", "old"]))
    assert found.names == ("m and young", "w and old")
    assert found.of.tolist() == [0, 1, 0, NONE]
    with pytest.raises(InvalidInput, match="Groups of 1 cannot be crossed with groups of 2"):
        Groups.by(["a"]).crossed(Groups.by(["a", "b"]))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["m"] * 30, "all have 'm'"),
        ([None] * 30, "nothing has a value"),
        (["m"] * 30 + ["w"] * 3, "'w' has 3"),
    ],
)
def test_groups_that_cannot_be_compared_are_refused(values: list[str | None], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        Groups.by(values).require(10, "gender")
    Groups.by(["m"] * 10 + ["w"] * 10 + [None]).require(10, "gender")


def test_the_head_is_what_many_like_whatever_its_number() -> None:
    popularity = np.array([10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
    assert np.flatnonzero(head(popularity).of == 0).tolist() == [8, 9]
    assert np.flatnonzero(head(popularity[:3]).of == 0).tolist() == [2]  # at least one


def test_bands_and_quarters_have_equally_many() -> None:
    of = bands(np.array([100, 90, 80, 70, 60, 50, 40, 30, 20, 10])).of
    assert of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert activity(np.array([9, 1, 5, 2, 40, 3, 8, 30])).of.tolist() == [2, 0, 1, 0, 3, 1, 2, 3]
    assert np.bincount(activity(np.full(12, 7)).of).tolist() == [3, 3, 3, 3]
