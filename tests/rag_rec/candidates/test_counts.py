from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.candidates.counts import CountMatrix, count_matrix

SIZE = 7
Cells = dict[tuple[int, int], int]
cells = st.dictionaries(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)), st.integers(-3, 5), max_size=20)
both = pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])


def build(counts: Cells, *, dense: bool) -> CountMatrix:
    rows, columns = np.array(list(counts), dtype=np.int64).reshape(-1, 2).T
    values = np.array(list(counts.values()), dtype=np.int64)
    return count_matrix(scipy.sparse.coo_array((values, (rows, columns)), shape=(SIZE, SIZE)), dense=dense)


def add(matrix: CountMatrix, counts: Cells) -> None:
    rows, columns = np.array(list(counts), dtype=np.int64).reshape(-1, 2).T
    matrix.add(rows, columns, np.array(list(counts.values()), dtype=np.int64))


def full(counts: list[Cells], size: int = SIZE) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    matrix = np.zeros((size, size))
    for each in counts:
        for (row, column), value in each.items():
            matrix[row, column] += value
    return matrix


@both
@given(first=cells, changes=st.lists(cells, max_size=4))
def test_adding_gives_what_a_plain_array_gives(dense: bool, first: Cells, changes: list[Cells]) -> None:
    matrix = build(first, dense=dense)
    for change in changes:
        add(matrix, change)
    expected = full([first, *changes])
    rows, columns, values = matrix.entries()
    assert (rows.tolist(), columns.tolist()) == tuple(axis.tolist() for axis in np.nonzero(expected))
    assert values.tolist() == expected[rows, columns].tolist()
    assert values.dtype == np.int64
    assert matrix.total == expected.sum()


some = st.lists(st.integers(0, SIZE - 1), unique=True)


@both
@given(first=cells, rows=some, columns=some, amount=st.integers(-3, 3))
def test_adding_a_block_is_adding_at_each_of_its_places(
    dense: bool, first: Cells, rows: list[int], columns: list[int], amount: int
) -> None:
    matrix, expected = build(first, dense=dense), build(first, dense=dense)
    matrix.add_block(np.array(rows, dtype=np.int32), np.array(columns, dtype=np.int32), amount)
    add(expected, {(row, column): amount for row in rows for column in columns})
    assert [axis.tolist() for axis in matrix.entries()] == [axis.tolist() for axis in expected.entries()]
    assert matrix.total == expected.total


@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, 1), st.integers(-1, 1)), max_size=30))
def test_a_single_count_of_a_sparse_row_changes_as_in_a_plain_array(changes: list[tuple[int, int, int]]) -> None:
    matrix, expected = build({}, dense=False), np.zeros((SIZE, SIZE))
    for column, row, amount in changes:
        add(matrix, {(row, column): amount})
        expected[row, column] += amount
        rows, columns, values = matrix.entries()
        assert (rows.tolist(), columns.tolist()) == tuple(axis.tolist() for axis in np.nonzero(expected))
        assert values.tolist() == expected[rows, columns].tolist()


@both
@given(counts=cells, first=st.integers(0, SIZE), stop=st.integers(0, SIZE + 2))
def test_a_band_is_a_part_of_the_entries(dense: bool, counts: Cells, first: int, stop: int) -> None:
    matrix = build(counts, dense=dense)
    rows, columns, values = matrix.entries()
    inside = (rows >= first) & (rows < stop)
    for mine, expected in zip(matrix.band(first, stop), (rows, columns, values), strict=True):
        assert mine.tolist() == expected[inside].tolist()


@both
@given(counts=cells, rows=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=5))
def test_reading(dense: bool, counts: Cells, rows: list[int]) -> None:
    matrix, expected = build(counts, dense=dense), full([counts])
    weights = np.arange(2.0 * len(rows)).reshape(2, -1) + 0.5
    np.testing.assert_allclose(matrix.weighted_sum(np.array(rows), weights), weights @ expected[rows])
    columns = np.array([4, 0, 6])
    np.testing.assert_array_equal(matrix.block(np.array(rows), columns), expected[rows][:, columns])


@both
def test_growing_keeps_counts_and_makes_room(dense: bool) -> None:
    matrix = build({(1, 2): 3}, dense=dense)
    for size in (SIZE + 1, SIZE + 300):
        matrix.grow(size)
        assert matrix.size == size
    add(matrix, {(SIZE + 299, 0): 4})
    expected = full([{(1, 2): 3, (SIZE + 299, 0): 4}], SIZE + 300)
    np.testing.assert_array_equal(matrix.block(np.arange(SIZE + 300), np.arange(SIZE + 300)), expected)
    assert matrix.weighted_sum(np.array([1]), np.ones((1, 1))).shape == (1, SIZE + 300)


@both
def test_nothing_to_read(dense: bool) -> None:
    matrix = build({}, dense=dense)
    assert matrix.weighted_sum(np.array([0, 1]), np.ones((3, 2))).tolist() == np.zeros((3, SIZE)).tolist()
    assert [len(axis) for axis in matrix.entries()] == [0, 0, 0]
    assert matrix.bytes >= 0
