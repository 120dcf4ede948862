from __future__ import annotations

import numpy as np
import pytest

from rag_rec.debias.masked import attributes_named, masked_counts, profiles, protected
from rag_rec.domain import Attributes, User
from rag_rec.errors import InvalidInput
from rag_rec.fairness.groups import Groups

PEOPLE: list[Attributes] = [{"gender": "FM"[person % 2], "likes": ("tea", "jazz")} for person in range(24)]


def test_people_with_one_of_the_values_are_protected() -> None:
    assert protected(PEOPLE, [("gender", "F")]).tolist() == [person % 2 == 0 for person in range(24)]
    assert protected(PEOPLE, [("gender", "F"), ("likes", "jazz")]).all()
    assert not protected(PEOPLE, []).any()


def test_a_rule_that_protects_nobody_is_refused() -> None:
    with pytest.raises(InvalidInput, match="No person has gender=X"):
        protected(PEOPLE, [("gender", "X")])


def test_counts_tell_groups_and_nothing_of_small_ones() -> None:
    people = [*PEOPLE, {"gender": "X"}]
    owners, items = np.repeat(np.arange(25), 4), np.tile(np.arange(4), 25)
    rows = (items == 0) & (owners < 6)
    kinds = Groups(("head", "tail"), np.array([0, 1, 1, 1]))
    found = masked_counts(rows, owners, items, kinds, people, ["gender"])
    assert (found["choices"], found["of"], found["people"], found["of_people"]) == (6, 100, 6, 25)
    assert found["by"]["choices"] == {"head": {"masked": 6, "all": 25}, "tail": {"masked": 0, "all": 75}}
    assert found["by"]["gender"] == {"F": {"masked": 3, "all": 48}, "M": {"masked": 3, "all": 48}}


def test_the_attributes_that_figures_name() -> None:
    figures = ["popularity", "exposure:genre", "gender+age:ndcg", "activity:hr", "age:dp:genre"]
    assert attributes_named(figures) == ["gender", "age"]


def test_profiles_of_people_without_one_are_empty() -> None:
    assert profiles([3, 4], {3: User("u", {"age": 7})}) == [{"age": 7}, {}]
