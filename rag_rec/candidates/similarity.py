"""How close all items' texts are to one item's, computed when first asked for and kept.

The same items stand at the end of many histories. A product of all item vectors with one of them reads the whole matrix
of vectors from memory; the row that it gives is a hundred times smaller. Rows are made from the catalogue alone, so
they hold nothing of any person.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

ROWS_BYTES: Final = 64 * 2**20
"""Memory that the rows may take."""

Vectors = npt.NDArray[np.float32]
Rows = dict[int, npt.NDArray[np.float32]]


class TextSimilarity:
    """Rows of cosines by item number, for one matrix of vectors at a time. Any number of threads may ask.

    A changed or grown matrix must come as another array object: rows of the one before are then dropped.
    """

    def __init__(self) -> None:
        self._held: tuple[Vectors, Rows] = (np.empty((0, 0), dtype=np.float32), {})

    def mean(self, vectors: Vectors, items: Sequence[int]) -> npt.NDArray[np.float64]:
        """Mean cosine of every item with some items, float64 [n].

        Args:
            vectors: unit vectors of all items, float32 [n, d].
            items: at least one item number.
        """
        held, rows = self._held
        if held is not vectors:
            rows = {}
            self._held = (vectors, rows)
        total = np.zeros(len(vectors))
        for item in items:
            total += _row(vectors, rows, item)
        return np.asarray(total / len(items))


def _row(vectors: Vectors, rows: Rows, item: int) -> npt.NDArray[np.float32]:
    row = rows.get(item)
    if row is None:
        row = np.asarray(vectors @ vectors[item])
        if (len(rows) + 1) * row.nbytes > ROWS_BYTES:
            rows.clear()
        rows[item] = row
    return row
