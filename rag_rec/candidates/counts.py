"""Square matrices of exact integer counts over the catalogue, dense or sparse behind one protocol.

Dense costs 4 bytes for every pair of items and is fastest; sparse costs 12 bytes for every pair that ever occurred and
is used above ``Settings.dense_items_limit``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse

Ids = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Entries = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


NARROW_LIMIT = 2**29
"""Counts are kept in 32 bits when a build finds them below this: then they can still grow fourfold before a rebuild."""


class CountMatrix(Protocol):
    """Integer counts [n, n]. One writer; any number of rerankers at the same time."""

    @property
    def size(self) -> int:
        """Number of rows and columns."""

    def add(self, rows: Ids, columns: Ids, amounts: Ids) -> None:
        """Add ``amounts`` (which may be negative) at (row, column). A pair may be given only once in a call."""

    def add_block(self, rows: Ids, columns: Ids, amount: int) -> None:
        """Add the same amount at every one of ``rows`` x ``columns``. A row or column may be given only once."""

    def weighted_sum(self, rows: Ids, weights: Floats) -> Floats:
        """Weighted sums of rows: ``weights`` [k, m] for m rows gives [k, n]."""

    def block(self, rows: Ids, columns: Ids) -> Floats:
        """The counts at ``rows`` [m] x ``columns`` [c], as float64 [m, c]. A column may be given only once."""

    def grow(self, size: int) -> None:
        """Add empty rows and columns up to ``size``."""

    def entries(self) -> Entries:
        """All counts other than zero: rows, columns and values, by (row, column)."""

    def band(self, first: int, stop: int) -> Entries:
        """The part of :meth:`entries` in rows ``first`` to ``stop``, exclusive; fewer where the matrix ends before."""

    @property
    def total(self) -> int:
        """Sum of all counts, by what was added: costs nothing to read."""

    @property
    def bytes(self) -> int:
        """Memory held."""


def count_matrix(matrix: scipy.sparse.coo_array, *, dense: bool) -> CountMatrix:
    """A count matrix from coordinates, duplicates summed."""
    return DenseCounts.build(matrix) if dense else SparseCounts.build(matrix)


def capacity(size: int) -> int:
    """Room to allocate when a matrix must grow to ``size``, so that growing item by item stays cheap."""
    return size + size // 8 + 64


class DenseCounts:
    """Counts in one array, int32 unless they are huge. Rows and columns beyond ``size`` are spare room."""

    def __init__(self, values: npt.NDArray[np.int32] | npt.NDArray[np.int64]) -> None:
        self._buffer: npt.NDArray[np.integer] = values
        self._size = len(values)
        self._total = int(values.sum(dtype=np.int64))

    @classmethod
    def build(cls, matrix: scipy.sparse.coo_array) -> DenseCounts:
        """Sum coordinates into an array."""
        size = matrix.shape[0]
        rows, columns = (axis.astype(np.int64) for axis in matrix.coords)
        # Sums of integers in float64 are exact below 2**53.
        flat = np.bincount(rows * size + columns, weights=matrix.data, minlength=size * size)
        narrow = flat.max(initial=0) < NARROW_LIMIT
        flat = flat.reshape(size, size)
        return cls(flat.astype(np.int32) if narrow else flat.astype(np.int64))

    @property
    def size(self) -> int:
        """Number of rows and columns."""
        return self._size

    @property
    def total(self) -> int:
        """Sum of all counts."""
        return self._total

    @property
    def bytes(self) -> int:
        """Memory held."""
        return int(self._buffer.nbytes)

    def add(self, rows: Ids, columns: Ids, amounts: Ids) -> None:
        """Add ``amounts`` at (row, column)."""
        self._buffer[rows, columns] += amounts.astype(self._buffer.dtype)
        self._total += int(amounts.sum())

    def add_block(self, rows: Ids, columns: Ids, amount: int) -> None:
        """Add the same amount at every one of ``rows`` x ``columns``."""
        self._buffer[np.ix_(rows, columns)] += self._buffer.dtype.type(amount)
        self._total += amount * len(rows) * len(columns)

    def weighted_sum(self, rows: Ids, weights: Floats) -> Floats:
        """Weighted sums of rows."""
        return np.asarray(weights @ self._buffer[rows, : self._size].astype(np.float64))

    def block(self, rows: Ids, columns: Ids) -> Floats:
        """The counts at ``rows`` x ``columns``."""
        # Whole rows first: they lie together in memory, so this is twice as fast as picking single counts.
        return self._buffer.take(rows, axis=0).take(columns, axis=1).astype(np.float64)

    def grow(self, size: int) -> None:
        """Add empty rows and columns."""
        if size > len(self._buffer):
            buffer = np.zeros((capacity(size),) * 2, dtype=self._buffer.dtype)
            buffer[: self._size, : self._size] = self._buffer[: self._size, : self._size]
            self._buffer = buffer
        self._size = max(size, self._size)

    def entries(self) -> Entries:
        """All counts other than zero."""
        return self.band(0, self._size)

    def band(self, first: int, stop: int) -> Entries:
        """The counts other than zero of some rows."""
        values = self._buffer[first : min(stop, self._size), : self._size]
        rows, columns = np.nonzero(values)
        return rows + first, columns, values[rows, columns].astype(np.int64)


Row = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]


class SparseCounts:
    """Counts as one pair of arrays for each row: columns ascending, and values, none of them zero.

    A row is replaced as a whole, so that a concurrent reranker sees it before or after a change and never in between.
    """

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self._total = sum(int(values.sum()) for _, values in rows)

    @classmethod
    def build(cls, matrix: scipy.sparse.coo_array) -> SparseCounts:
        """Sum coordinates into rows."""
        summed = scipy.sparse.csr_array(matrix)
        summed.sum_duplicates()
        summed.eliminate_zeros()
        starts = summed.indptr
        columns, values = summed.indices.astype(np.int32), summed.data.astype(np.int64)
        return cls([(columns[a:b].copy(), values[a:b].copy()) for a, b in pairwise(starts)])

    @property
    def size(self) -> int:
        """Number of rows and columns."""
        return len(self._rows)

    @property
    def total(self) -> int:
        """Sum of all counts."""
        return self._total

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(columns.nbytes + values.nbytes for columns, values in self._rows)

    def add(self, rows: Ids, columns: Ids, amounts: Ids) -> None:
        """Add ``amounts`` at (row, column)."""
        order = np.lexsort((columns, rows))
        rows, columns, amounts = rows[order], columns[order], amounts[order]
        changed, starts = np.unique(rows, return_index=True)
        bounds = [*starts.tolist(), len(rows)]
        for row, a, b in zip(changed.tolist(), bounds[:-1], bounds[1:], strict=True):
            self._rows[row] = _merged(self._rows[row], columns[a:b], amounts[a:b])
        self._total += int(amounts.sum())

    def add_block(self, rows: Ids, columns: Ids, amount: int) -> None:
        """Add the same amount at every one of ``rows`` x ``columns``."""
        count = len(rows) * len(columns)
        self.add(np.repeat(rows, len(columns)), np.tile(columns, len(rows)), np.full(count, amount, dtype=np.int64))

    def weighted_sum(self, rows: Ids, weights: Floats) -> Floats:
        """Weighted sums of rows."""
        size = self.size
        owners, columns, values = self._gather(rows)
        return np.stack([np.bincount(columns, weights=each[owners] * values, minlength=size) for each in weights])

    def block(self, rows: Ids, columns: Ids) -> Floats:
        """The counts at ``rows`` x ``columns``."""
        place = np.full(self.size, -1, dtype=np.int64)
        place[columns] = np.arange(len(columns))
        owners, found, values = self._gather(rows)
        target = place[found]
        wanted = target >= 0
        block = np.zeros((len(rows), len(columns)))
        block[owners[wanted], target[wanted]] = values[wanted]
        return block

    def grow(self, size: int) -> None:
        """Add empty rows and columns."""
        empty = (np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
        self._rows.extend([empty] * (size - self.size))

    def entries(self) -> Entries:
        """All counts other than zero."""
        return self.band(0, self.size)

    def band(self, first: int, stop: int) -> Entries:
        """The counts other than zero of some rows."""
        owners, columns, values = self._gather(np.arange(first, min(stop, self.size)))
        return owners + first, columns.astype(np.int64), values

    def _gather(self, rows: Ids) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        taken = [self._rows[row] for row in rows.tolist()]
        owners = np.repeat(np.arange(len(taken)), [len(columns) for columns, _ in taken])
        if not taken:
            return owners, np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)
        return owners, np.concatenate([row[0] for row in taken]), np.concatenate([row[1] for row in taken])


def _merged(row: Row, columns: Ids, amounts: Ids) -> Row:
    """A row with amounts added, zeros dropped. ``columns`` ascend."""
    held, counts = row
    place = held.searchsorted(columns)
    if len(columns) == 1 and place[0] < len(held) and held[place[0]] == columns[0]:  # one count of a history that goes
        return _counted(row, int(place[0]), int(amounts[0]))
    known = np.zeros(len(columns), dtype=np.bool_)
    inside = place < len(held)
    known[inside] = held[place[inside]] == columns[inside]
    values = counts.copy()
    values[place[known]] += amounts[known]
    if not known.all():
        held = np.insert(held, place[~known], columns[~known].astype(np.int32))
        values = np.insert(values, place[~known], amounts[~known])
    kept = values != 0
    return (held, values) if kept.all() else (held[kept], values[kept])


def _counted(row: Row, place: int, amount: int) -> Row:
    """A row with one of its counts changed, dropped where it becomes zero."""
    held, counts = row
    if counts[place] + amount:
        counts = counts.copy()
        counts[place] += amount
        return held, counts
    return np.concatenate((held[:place], held[place + 1 :])), np.concatenate((counts[:place], counts[place + 1 :]))
