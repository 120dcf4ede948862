from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.evidence import Memory, Preference
from rag_rec.evidence.preference import HALF_LIFE, recency
from tests.rag_rec.evidence.memories import NO_CANDIDATES, Row, memory_of, random_memory, rows

PREFERENCE = Preference()


def importance(memory: Memory) -> npt.NDArray[np.float64]:
    return memory.weights * recency(memory.times)


def by_hand(memory: Memory, budget: int) -> list[int]:
    """Highest averages one row at a time: each cluster offers its next row, the least served cluster wins."""
    weight = importance(memory)
    waiting: dict[int, list[int]] = {}
    for row in range(len(memory)):
        if memory.tokens[row] <= budget:
            waiting.setdefault(int(memory.clusters[row]), []).append(row)
    interest = {cluster: sum(weight[row] for row in listed) for cluster, listed in waiting.items()}
    passed = dict.fromkeys(waiting, 0.0)
    for listed in waiting.values():
        listed.sort(key=lambda row: (-weight[row], -row))
    chosen: list[int] = []
    while any(waiting.values()):
        offers = []
        for cluster, listed in waiting.items():
            if listed:
                level = (passed[cluster] + memory.tokens[listed[0]]) / interest[cluster]
                offers.append((level, -weight[listed[0]], -listed[0], cluster))
        cluster = min(offers)[3]
        row = waiting[cluster].pop(0)
        passed[cluster] += memory.tokens[row]
        if memory.tokens[row] + memory.tokens[chosen].sum() <= budget:
            chosen.append(row)
    return sorted(chosen)


def exact_shares(interest: dict[int, float], available: dict[int, int], budget: int) -> dict[int, float]:
    """The budget poured over the clusters in proportion to interest, none getting more than it can use."""
    shares: dict[int, float] = {}
    open_clusters, left = set(interest), float(min(budget, sum(available.values())))
    while open_clusters:
        level = left / sum(interest[cluster] for cluster in open_clusters)
        full = {cluster for cluster in open_clusters if available[cluster] <= interest[cluster] * level}
        for cluster in full or open_clusters:
            shares[cluster] = min(available[cluster], interest[cluster] * level)
        left -= sum(shares[cluster] for cluster in full)
        open_clusters = open_clusters - full if full else set()
    return shares


@given(history=st.lists(rows, max_size=20), budget=st.integers(0, 80))
def test_it_equals_highest_averages_by_hand(history: list[Row], budget: int) -> None:
    memory = memory_of(history)
    assert PREFERENCE.select(memory, NO_CANDIDATES, budget).tolist() == by_hand(memory, budget)


@given(history=st.lists(rows, min_size=1, max_size=30), budget=st.integers(12, 120))
def test_no_interest_falls_short_of_its_share_by_a_whole_row(history: list[Row], budget: int) -> None:
    memory = memory_of(history)
    weight = importance(memory)
    clusters = {int(cluster): np.flatnonzero(memory.clusters == cluster) for cluster in set(memory.clusters.tolist())}
    interest = {cluster: float(weight[listed].sum()) for cluster, listed in clusters.items()}
    available = {cluster: int(memory.tokens[listed].sum()) for cluster, listed in clusters.items()}
    chosen = set(PREFERENCE.select(memory, NO_CANDIDATES, budget).tolist())
    for cluster, share in exact_shares(interest, available, budget).items():
        shown = sum(int(memory.tokens[row]) for row in clusters[cluster] if row in chosen)
        left_out = [row for row in clusters[cluster] if row not in chosen]
        best_left_out = min(left_out, key=lambda row: (-weight[row], -row), default=None)
        one_row = 0 if best_left_out is None else int(memory.tokens[best_left_out])
        assert share <= shown + one_row + 1e-9


@given(history=st.lists(rows, max_size=20), budget=st.integers(0, 80))
def test_no_row_that_still_fits_is_left_out(history: list[Row], budget: int) -> None:
    memory = memory_of(history)
    chosen = PREFERENCE.select(memory, NO_CANDIDATES, budget)
    left = budget - memory.tokens[chosen].sum()
    assert np.all(np.delete(memory.tokens, chosen) > left)


def test_the_names_of_clusters_do_not_matter() -> None:
    memory = random_memory(60, seed=4)
    renamed = Memory(memory.vectors, memory.weights, memory.times, memory.tokens, (3 - memory.clusters) * 100 - 7)
    first = PREFERENCE.select(memory, NO_CANDIDATES, 150)
    assert np.array_equal(first, PREFERENCE.select(renamed, NO_CANDIDATES, 150))


def test_tokens_follow_interests() -> None:
    history = [Row(0, 5, 0, 2, cluster) for cluster in [0, 0, 0, 1] * 20]
    memory = memory_of(history)
    chosen = PREFERENCE.select(memory, NO_CANDIDATES, 40)
    assert np.bincount(memory.clusters[chosen]).tolist() == [15, 5]


def test_a_better_rating_and_a_later_time_come_first() -> None:
    ratings = memory_of([Row(0, 5, 0, 4, 0), Row(0, 2, 0, 4, 0), Row(0, 4, 0, 4, 0)])
    assert PREFERENCE.select(ratings, NO_CANDIDATES, 8).tolist() == [0, 2]
    times = memory_of([Row(0, 4, 1, 4, 0), Row(0, 4, 1, 4, 0), Row(0, 4, 1, 4, 0)])
    assert PREFERENCE.select(times, NO_CANDIDATES, 8).tolist() == [1, 2]


def test_interests_older_than_floating_point_reaches_are_harmless() -> None:
    size = 60_000
    memory = Memory(
        np.ones((size, 1), dtype=np.float32),
        np.ones(size),
        np.arange(size, dtype=np.int64),
        np.ones(size, dtype=np.int32),
        np.arange(size, dtype=np.int32) // 30_000,
    )
    assert PREFERENCE.select(memory, NO_CANDIDATES[:, :1], 10).tolist() == list(range(size - 10, size))


def test_weight_halves_with_every_half_life_of_later_interactions() -> None:
    weights = recency(np.arange(9, dtype=np.int64), half_life=4.0)
    assert weights[[8, 4, 0]].tolist() == [1.0, 0.5, 0.25]
    assert np.all(np.diff(weights) > 0)


def test_interactions_of_one_moment_are_equally_old() -> None:
    weights = recency(np.array([1, 1, 2, 2, 2], dtype=np.int64))
    assert weights[0] == weights[1] == pytest.approx(2.0 ** (-3 / HALF_LIFE))
    assert weights[2:].tolist() == [1.0, 1.0, 1.0]


def test_it_depends_on_the_order_of_times_only() -> None:
    times = np.array([3, 50, 50, 10_000], dtype=np.int64)
    assert np.array_equal(recency(times), recency(np.array([0, 1, 1, 2], dtype=np.int64)))


def test_an_empty_history_has_no_weights() -> None:
    assert recency(np.empty(0, dtype=np.int64)).shape == (0,)
