"""How often each item was chosen, in total and by period of time."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rag_rec.candidates.counts import Entries, Ids, capacity
from rag_rec.events.history import History

Integer = TypeVar("Integer", bound=np.integer)

PERIOD_MS = 28 * 24 * 3600 * 1000
"""Length of a period: 28 days, in milliseconds."""


class Popularity:
    """Integer counts by item and period.

    Periods are numbered from 1970; only the range that ever occurred is stored. One writer, any number of rerankers.
    """

    def __init__(self, size: int) -> None:
        # The number of the period in column 0, and counts [n, periods]: one attribute, so that readers see both change.
        self._table: tuple[int, npt.NDArray[np.int32]] = (0, np.zeros((size, 0), dtype=np.int32))
        self._total = np.zeros(size, dtype=np.int64)
        self._size = size

    @property
    def total(self) -> npt.NDArray[np.int64]:
        """Interactions of each item, [n]."""
        return self._total[: self._size]

    @property
    def counted(self) -> int:
        """Interactions in all periods: as many as :attr:`total` adds up to."""
        return int(self._table[1].sum(dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Memory held."""
        return int(self._table[1].nbytes + self._total.nbytes)

    def change(self, rows: History, sign: int) -> None:
        """Add (``sign`` 1) or subtract (-1) interactions."""
        if not len(rows):
            return
        periods = period(rows["time"])
        self._cover(int(periods.min()), int(periods.max()))
        first, table = self._table
        np.add.at(table, (rows["item"], periods - first), sign)
        np.add.at(self._total, rows["item"], sign)

    def recent(self, time: int | None, periods: int, items: Ids | slice = slice(None)) -> npt.NDArray[np.int64]:
        """Interactions of each item in the period of ``time`` and the ``periods - 1`` before it.

        None stands for :meth:`latest`.
        """
        first, table = self._table
        last = self._period(time) - first
        taken = table[: self._size, max(0, last - periods + 1) : max(0, last + 1)]
        return np.asarray(taken[items].sum(axis=1, dtype=np.int64))

    def latest(self) -> int:
        """The first millisecond of the newest period with an interaction; 0 if there is none."""
        first, table = self._table
        used = np.flatnonzero(table.any(axis=0))
        return (first + int(used[-1])) * PERIOD_MS if len(used) else 0

    def age(self, time: int | None, items: Ids) -> npt.NDArray[np.float64]:
        """Periods since each of ``items`` was first chosen; 0 for one that never was, or only later."""
        first, table = self._table
        chosen = table[items] > 0
        if not chosen.shape[1]:
            return np.zeros(len(items))
        born = first + chosen.argmax(axis=1)
        return np.where(chosen.any(axis=1), np.maximum(0.0, self._period(time) - born), 0.0)

    def grow(self, size: int) -> None:
        """Add items without interactions."""
        if size > len(self._total):
            room = capacity(size)
            self._total = _padded(self._total, room)
            self._table = (self._table[0], _padded(self._table[1], room))
        self._size = max(size, self._size)

    def entries(self) -> Entries:
        """All counts other than zero: items, periods and values, by (item, period)."""
        first, table = self._table
        items, columns = np.nonzero(table)
        return items, columns + first, table[items, columns].astype(np.int64)

    def _period(self, time: int | None) -> int:
        return int(period(np.int64(self.latest() if time is None else time)))

    def _cover(self, first: int, last: int) -> None:
        """Make room for periods ``first`` to ``last``."""
        old, table = self._table
        width = table.shape[1]
        start = min(first, old) if width else first
        end = max(last + 1, old + width) if width else last + 1
        if (start, end) != (old, old + width):
            wider = np.zeros((len(table), end - start), dtype=np.int32)
            wider[:, old - start : old - start + width] = table
            self._table = (start, wider)


def period(time: npt.NDArray[np.int64] | np.int64) -> npt.NDArray[np.int64]:
    """Number of the period that a time in milliseconds lies in."""
    return np.asarray(time // PERIOD_MS, dtype=np.int64)


def _padded(values: npt.NDArray[Integer], size: int) -> npt.NDArray[Integer]:
    padded = np.zeros((size, *values.shape[1:]), dtype=values.dtype)
    padded[: len(values)] = values
    return padded
