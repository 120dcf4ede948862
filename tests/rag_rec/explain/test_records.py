from __future__ import annotations

from rag_rec.domain import RecommendedItem
from rag_rec.explain.records import Conditions, Explanation


def test_an_explanation_that_nobody_writes_is_empty() -> None:
    assert list(Explanation(RecommendedItem("i", "Item", 0.5, (), ()), ())) == []
    assert Conditions().valid()
    assert not Conditions().stopped()
