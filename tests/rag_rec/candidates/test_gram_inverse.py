from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.candidates import gram_inverse
from rag_rec.candidates.counts import CountMatrix, Ids, count_matrix
from rag_rec.candidates.gram_inverse import Floats, GramInverse

SIZE = 9
LAMBDA = 3.0
Items = list[int]
row = st.lists(st.integers(0, SIZE - 1), unique=True, max_size=SIZE)


def gram_of(rows: list[Items], size: int = SIZE) -> CountMatrix:
    chosen = np.zeros((len(rows), size), dtype=np.int64)
    for user, items in enumerate(rows):
        chosen[user, items] = 1
    return count_matrix(scipy.sparse.coo_array(chosen.T @ chosen), dense=True)


def add_row(gram: CountMatrix, items: Items, sign: int) -> None:
    rows, columns = np.repeat(items, len(items)), np.tile(items, len(items))
    gram.add(rows.astype(np.int64), columns.astype(np.int64), np.full(len(rows), sign))


def change(inverse: GramInverse, gram: CountMatrix, items: Items, sign: int) -> None:
    add_row(gram, items, sign)
    inverse.change(np.array(items, dtype=np.int64), sign)


def residual(inverse: GramInverse, gram: CountMatrix) -> float:
    """How far P has drifted: |(G + lambda I) P v - v| / |v| for a vector v of random signs."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=SIZE)
    whole = gram.block(np.arange(SIZE), np.arange(SIZE)) + LAMBDA * np.eye(SIZE)
    return float(np.linalg.norm(whole @ inverse.matrix @ signs - signs) / np.linalg.norm(signs))


def explicit(rows: list[Items]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    gram = gram_of(rows).block(np.arange(SIZE), np.arange(SIZE))
    return np.asarray(np.linalg.inv(gram + LAMBDA * np.eye(SIZE)))


@given(st.lists(row, max_size=6), st.lists(row, max_size=6), st.integers(1, 7))
@settings(max_examples=60)
def test_updates_agree_with_a_fresh_inverse(stay: list[Items], leave: list[Items], block: int) -> None:
    gram = gram_of(leave)
    inverse = GramInverse(gram, LAMBDA)
    moves = [(items, 1) for items in stay] + [(items, -1) for items in leave]
    for count, (items, sign) in enumerate(moves):
        change(inverse, gram, items, sign)
        if count % block == 0:
            inverse.flush()
    inverse.flush()
    expected = explicit(stay)
    assert np.abs(inverse.matrix - expected).max() <= 1e-9 * np.abs(expected).max()
    assert inverse.rebuilds == 1


def test_the_first_inverse_is_exactly_symmetric() -> None:
    inverse = GramInverse(gram_of([[0, 1, 2], [2, 5], [1, 2, 8]]), LAMBDA)
    assert np.array_equal(inverse.matrix, inverse.matrix.T)


def test_scores_are_those_of_ease() -> None:
    rows = [[0, 1, 2], [1, 2, 3], [3, 4], [2, 4, 5], [5, 6, 7, 8]]
    matrix = GramInverse(gram_of(rows), LAMBDA).matrix
    weights = np.eye(SIZE) - matrix / np.diag(matrix)  # B of eq. 8: its diagonal is zero
    np.testing.assert_allclose(np.diag(weights), 0.0, atol=1e-12)
    query = np.zeros(SIZE)
    query[[1, 4]] = 1.0
    outside = np.setdiff1d(np.arange(SIZE), [1, 4])
    np.testing.assert_allclose((-(query @ matrix) / np.diag(matrix))[outside], (query @ weights)[outside], rtol=1e-12)


def test_a_row_that_comes_and_goes_costs_nothing() -> None:
    gram = gram_of([[0, 1]])
    inverse = GramInverse(gram, LAMBDA)
    before = inverse.matrix
    change(inverse, gram, [2, 3], 1)
    change(inverse, gram, [3, 2], -1)
    assert inverse.pending == 0
    inverse.flush()
    assert inverse.matrix is before


def test_a_reader_keeps_a_consistent_matrix() -> None:
    gram = gram_of([[0, 1], [1, 2]])
    inverse = GramInverse(gram, LAMBDA)
    held = inverse.matrix
    copy = held.copy()
    change(inverse, gram, [1, 2], -1)
    inverse.flush()
    assert np.array_equal(held, copy)
    assert not np.array_equal(inverse.matrix, copy)


def test_drift_beyond_the_bound_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_inverse, "PROBE_EVERY", 1)
    gram = gram_of([[0, 1], [1, 2]])
    inverse = GramInverse(gram, LAMBDA)
    inverse.matrix[3, 3] += 1e-6
    assert residual(inverse, gram) > gram_inverse.RESIDUAL_BOUND
    change(inverse, gram, [4, 5], 1)
    inverse.flush()
    assert inverse.rebuilds == 2
    np.testing.assert_allclose(inverse.matrix, explicit([[0, 1], [1, 2], [4, 5]]), rtol=0, atol=1e-14)


def test_growing_equals_building_with_more_items() -> None:
    gram = gram_of([[0, 1], [1, 2]])
    inverse = GramInverse(gram, LAMBDA)
    for size in (SIZE + 1, SIZE + 3, SIZE + 300):
        gram.grow(size)
        inverse.grow(size)
        expected = GramInverse(gram_of([[0, 1], [1, 2]], size), LAMBDA).matrix
        np.testing.assert_allclose(inverse.matrix, expected, rtol=0, atol=1e-14)
    change(inverse, gram, [0, SIZE + 299], 1)
    inverse.flush()
    expected = GramInverse(gram_of([[0, 1], [1, 2], [0, SIZE + 299]], SIZE + 300), LAMBDA).matrix
    np.testing.assert_allclose(inverse.matrix, expected, rtol=0, atol=1e-13)


def test_room_is_kept_over_updates() -> None:
    gram = gram_of([[0, 1], [1, 2]])
    inverse = GramInverse(gram, LAMBDA)
    for size in (SIZE + 1, SIZE + 2, SIZE + 3):
        gram.grow(size)
        inverse.grow(size)
        change(inverse, gram, [0, size - 1], 1)
        inverse.flush()
    room = inverse.matrix.base
    assert room is not None
    assert len(room) > SIZE + 3
    expected = GramInverse(gram, LAMBDA).matrix
    np.testing.assert_allclose(inverse.matrix, expected, rtol=0, atol=1e-13)


class TestPrepared:
    def inverses(self) -> tuple[GramInverse, CountMatrix]:
        gram = gram_of([[0, 1], [1, 2], [2, 3, 4]])
        return GramInverse(gram, LAMBDA), gram

    def prepare(self, inverse: GramInverse, *changes: tuple[Items, int]) -> None:
        inverse.prepare([(np.array(items, dtype=np.int64), sign) for items, sign in changes])

    def updates(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Grows by one entry, the number of rows, for every update that is computed."""
        computed: list[int] = []
        compute = gram_inverse._update

        def counted(matrix: Floats, changes: list[tuple[Ids, int]], target: Floats) -> None:
            computed.append(len(changes))
            compute(matrix, changes, target)

        monkeypatch.setattr(gram_inverse, "_update", counted)
        return computed

    def test_the_same_change_takes_it_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        inverse, gram = self.inverses()
        computed, before = self.updates(monkeypatch), inverse.matrix
        change(inverse, gram, [5, 6], 1)
        self.prepare(inverse, ([4, 3, 2], -1), ([3, 4], 1))
        assert inverse.matrix is before
        assert computed == [3]
        change(inverse, gram, [2, 3, 4], -1)
        change(inverse, gram, [4, 3], 1)
        inverse.flush()
        assert computed == [3]
        np.testing.assert_allclose(inverse.matrix, explicit([[0, 1], [1, 2], [3, 4], [5, 6]]), rtol=0, atol=1e-14)
        np.testing.assert_array_equal(inverse.held[1], np.diag(inverse.matrix))

    @pytest.mark.parametrize("disturbance", ["another row", "another sign", "flushed", "grown", "rebuilt", "discarded"])
    def test_anything_else_drops_it(self, monkeypatch: pytest.MonkeyPatch, disturbance: str) -> None:
        inverse, gram = self.inverses()
        rows = [[0, 1], [1, 2]]
        self.prepare(inverse, ([2, 3, 4], -1))
        if disturbance == "another row":
            change(inverse, gram, [7, 8], 1)
            rows.append([7, 8])
        if disturbance == "another sign":
            change(inverse, gram, [2, 3, 4], -1)
            change(inverse, gram, [2, 3, 4], 1)
            change(inverse, gram, [2, 3, 4], 1)
            change(inverse, gram, [2, 3, 4], 1)
            rows += [[2, 3, 4]] * 2
        if disturbance == "flushed":
            change(inverse, gram, [5], 1)
            inverse.flush()
            rows.append([5])
        if disturbance == "grown":
            gram.grow(SIZE + 1)
            inverse.grow(SIZE + 1)
        if disturbance == "rebuilt":
            inverse.rebuild()
        if disturbance == "discarded":
            inverse.discard()
        computed = self.updates(monkeypatch)
        change(inverse, gram, [2, 3, 4], -1)
        inverse.flush()
        assert len(computed) == 1
        assert np.abs(inverse.matrix[:SIZE, :SIZE] - explicit(rows)).max() < 1e-14

    def test_it_is_taken_over_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        inverse, gram = self.inverses()
        self.prepare(inverse, ([2, 3, 4], -1))
        computed = self.updates(monkeypatch)
        for items in ([2, 3, 4], [1, 2]):
            change(inverse, gram, items, -1)
            inverse.flush()
        assert computed == [1]
        np.testing.assert_allclose(inverse.matrix, explicit([[0, 1]]), rtol=0, atol=1e-14)

    def test_nothing_to_change_prepares_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        inverse, _ = self.inverses()
        computed = self.updates(monkeypatch)
        self.prepare(inverse, ([2, 3], -1), ([3, 2], 1), ([], -1))
        assert computed == []

    def test_memory_is_used_again_and_never_what_somebody_reads(self) -> None:
        inverse, gram = self.inverses()
        read, before = inverse.matrix, inverse.matrix.copy()
        places = set()
        for round_ in range(12):
            change(inverse, gram, [5, 6], 1 if round_ % 2 == 0 else -1)
            inverse.flush()
            places.add(inverse.matrix.__array_interface__["data"][0])
        assert len(places) <= 3
        assert np.array_equal(read, before)

    def test_a_flush_that_comes_first_leaves_nothing_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        inverse, gram = self.inverses()
        compute = gram_inverse._update

        def overtaken(matrix: Floats, changes: list[tuple[Ids, int]], target: Floats) -> None:
            monkeypatch.setattr(gram_inverse, "_update", compute)
            change(inverse, gram, [2, 3, 4], -1)
            inverse.flush()
            compute(matrix, changes, target)

        monkeypatch.setattr(gram_inverse, "_update", overtaken)
        self.prepare(inverse, ([2, 3, 4], -1))
        assert inverse._prepared is None
        assert np.abs(inverse.matrix - explicit([[0, 1], [1, 2]])).max() < 1e-14


def test_more_rows_than_an_update_is_good_for_are_inverted_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_inverse, "PENDING_LIMIT", 2)
    gram = gram_of([[0, 1]])
    inverse = GramInverse(gram, LAMBDA)
    rows = [[2, 3], [4, 5], [6]]
    for items in rows:
        change(inverse, gram, items, 1)
    inverse.flush()
    assert (inverse.rebuilds, inverse.pending) == (2, 0)
    assert inverse.folded == inverse.changes == 3
    assert np.array_equal(inverse.matrix, GramInverse(gram, LAMBDA).matrix)


def test_every_part_of_the_inverse_is_looked_at_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_inverse, "PROBE_EVERY", 1)
    monkeypatch.setattr(gram_inverse, "PROBED", 2)
    gram = gram_of([[0, 1], [1, 2]])
    inverse = GramInverse(gram, LAMBDA)
    inverse.matrix[3, 3] += 1e-6
    blocks = 0
    while inverse.rebuilds == 1:
        change(inverse, gram, [4, 5], 1 if blocks % 2 == 0 else -1)
        inverse.flush()
        blocks += 1
    assert blocks <= SIZE // 2 + 1
    assert residual(inverse, gram) < gram_inverse.RESIDUAL_BOUND
