from __future__ import annotations

import math
from itertools import count, takewhile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.evaluation.ranking import MISSED, gains, ndcg, rank_biased_overlap, rank_of

lists = st.lists(st.integers(0, 12), min_size=1, max_size=10, unique=True)
persistence = st.floats(0.05, 0.95)


def test_the_place_of_an_answer() -> None:
    items = np.array([7, 3, 9])
    assert [rank_of(answer, items) for answer in (7, 9, 4)] == [0, 2, MISSED]


def test_ndcg_by_hand() -> None:
    ranks = np.array([0, 1, 9, 10, MISSED])
    expected = [1.0, 1 / math.log2(3), 1 / math.log2(11), 0.0, 0.0]
    assert gains(ranks).tolist() == pytest.approx(expected)
    assert ndcg(ranks) == pytest.approx(sum(expected) / 5)
    assert ndcg(ranks, depth=1) == pytest.approx(0.2)


def test_overlap_by_hand() -> None:
    """Overlap 0, 2, 3 at depths 1, 2, 3; the last agreement is extrapolated."""
    half = 0.5 * (0 + 0.5 * 1 + 0.25 * 1) + 0.125 * 1
    assert rank_biased_overlap("abc", "bac", 0.5) == pytest.approx(half)


def slow_overlap(first: list[int], second: list[int], p: float) -> float:
    """The definition, (1 - p) sum p^(d-1) A_d, over as many depths as matter, with what lies beyond the ends assumed.

    Webber et al., section 4.4: beyond its end the shorter list is assumed to go on agreeing as it did at its end, and
    beyond both ends the agreement stays what it was.
    """
    short, long = sorted((first, second), key=len)

    def agreement(depth: int) -> float:
        depth = min(depth, len(long))
        seen = len(set(short[:depth]) & set(long[:depth]))
        if depth <= len(short):
            return seen / depth
        at_end = len(set(short) & set(long[: len(short)])) / len(short)
        return (seen + at_end * (depth - len(short))) / depth

    return sum((1 - p) * p ** (d - 1) * agreement(d) for d in takewhile(lambda d: p**d > 1e-15, count(1)))


@given(first=lists, second=lists, p=persistence)
def test_overlap_equals_its_definition(first: list[int], second: list[int], p: float) -> None:
    assert rank_biased_overlap(first, second, p) == pytest.approx(slow_overlap(first, second, p), abs=1e-9)


@given(first=lists, second=lists, p=persistence)
def test_overlap_is_symmetric_and_bounded(first: list[int], second: list[int], p: float) -> None:
    overlap = rank_biased_overlap(first, second, p)
    assert overlap == rank_biased_overlap(second, first, p)
    assert 0.0 <= overlap <= 1.0 + 1e-12


@given(items=lists, p=persistence)
def test_overlap_of_equal_and_of_disjoint_lists(items: list[int], p: float) -> None:
    assert rank_biased_overlap(items, items, p) == 1.0
    assert rank_biased_overlap(items, [item + 100 for item in items], p) == 0.0


@pytest.mark.parametrize(
    ("first", "second", "p"), [("", "a", 0.9), ("aa", "ab", 0.9), ("ab", "bb", 0.9), ("a", "a", 1.0)]
)
def test_lists_that_cannot_be_compared(first: str, second: str, p: float) -> None:
    with pytest.raises(ValueError, match="distinct items"):
        rank_biased_overlap(first, second, p)
