from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.candidates.distinct import SPARE, distinct
from rag_rec.candidates.query import CandidateList


def ranked(count: int) -> CandidateList:
    """The items 0, 1, ... in this order."""
    return CandidateList(np.arange(count, dtype=np.int32), -np.arange(count, dtype=np.float64), [("text",)] * count)


def of(texts: list[str], n: int) -> list[int]:
    found = distinct(lambda asked: ranked(min(asked, len(texts))), n, texts)
    assert found.scores.tolist() == [-number for number in found.items]
    assert len(found.sources) == len(found)
    return [int(number) for number in found.items]


@given(st.lists(st.sampled_from("abcdef"), max_size=200), st.integers(1, 10))
def test_the_best_of_each_text_stays_and_the_next_best_fill_up(texts: list[str], n: int) -> None:
    assert of(texts, n) == sorted({text: at for at, text in reversed(list(enumerate(texts)))}.values())[:n]


def test_more_are_looked_at_only_where_many_texts_repeat() -> None:
    asked = []

    def find(count: int) -> CandidateList:
        asked.append(count)
        return ranked(count)

    assert len(distinct(find, 50, [str(number // 2) for number in range(400)])) == 50
    assert asked == [50 + SPARE, 2 * (50 + SPARE)]
    assert len(distinct(find, 50, list(map(str, range(400))))) == 50
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Heat (1995)", "heat  (1995) ", True),
        ("Caf\u00e9", "Cafe\u0301", True),
        ("Heat (1995)", "Heat (1986)", False),
        ("Shirt, red", "Shirt, blue", False),
    ],
)
def test_texts_are_the_same_if_they_read_the_same(first: str, second: str, same: bool) -> None:
    assert of([first, second], 2) == ([0] if same else [0, 1])
