"""Measures of ranked lists: NDCG of one hidden answer, and rank-biased overlap of two lists."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]

DEPTH: Final = 10
"""How many places of a list NDCG looks at."""

PERSISTENCE: Final = 0.9
"""How likely a reader of a list goes on to the next place: p of rank-biased overlap. The first ten places then carry
86 % of its weight."""

MISSED: Final = 10**9
"""Rank of an answer that was not proposed at all."""


def rank_of(answer: int, items: npt.NDArray[np.integer]) -> int:
    """The place of an answer in a list of distinct items, best first; 0 is best, :data:`MISSED` is absent."""
    places = np.flatnonzero(items == answer)
    return int(places[0]) if len(places) else MISSED


def gains(ranks: Ranks, depth: int = DEPTH) -> Floats:
    """NDCG@``depth`` of each question with exactly one right answer, float64 [n] in [0, 1].

    Args:
        ranks: of the answers, int64 [n]; 0 is best.
        depth: places that count.
    """
    return np.asarray(np.where(ranks < depth, 1.0 / np.log2(ranks + 2.0), 0.0))


def ndcg(ranks: Ranks, depth: int = DEPTH) -> float:
    """Mean of :func:`gains`; not a number where nothing was asked."""
    return float(gains(ranks, depth).mean())


def rank_biased_overlap(first: Sequence[Hashable], second: Sequence[Hashable], p: float = PERSISTENCE) -> float:
    """How alike two ranked lists are, with more weight on the first places: 1 for equal ones, 0 for disjoint ones.

    RBO_ext of Webber, Moffat and Zobel ("A Similarity Measure for Indefinite Rankings", ACM TOIS 28(4), 2010,
    equation 32): what lies beyond the ends of the lists is extrapolated from the overlap seen up to there, and lists
    may differ in length. The weights of that equation sum to 1; here they are divided by their sum as computed, so
    that equal lists give 1 to the bit.

    Args:
        first: distinct items, best first, at least one.
        second: as ``first``.
        p: persistence, in (0, 1).

    Raises:
        ValueError: an empty list, an item twice in a list, or p out of range.
    """
    short, long = sorted((list(first), list(second)), key=len)
    if not short or len(set(short)) < len(short) or len(set(long)) < len(long) or not 0 < p < 1:
        raise ValueError("rank-biased overlap needs two lists of distinct items, none empty, and p between 0 and 1")
    depths = np.arange(1, len(long) + 1)
    overlap = _overlaps(short, long)
    at_end = overlap[len(short) - 1]
    beyond = np.maximum(depths - len(short), 0) * at_end / len(short)  # what the short list would have added
    agreement = np.append((overlap + beyond) / depths, (overlap[-1] - at_end) / len(long) + at_end / len(short))
    weights = np.append((1.0 - p) * p ** (depths - 1.0), p ** len(long))
    return float((weights * agreement).sum() / weights.sum())


def _overlaps(short: Sequence[Hashable], long: Sequence[Hashable]) -> Floats:
    """How many items the lists share up to each depth of the longer one."""
    place = {item: depth for depth, item in enumerate(long)}
    met = np.zeros(len(long))
    for depth, item in enumerate(short):
        if item in place:
            met[max(depth, place[item])] += 1.0
    return np.cumsum(met)
