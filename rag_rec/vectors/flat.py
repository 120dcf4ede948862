"""Exact inner-product search over vectors by number, for items and for profiles.

Vectors are kept as half-precision floats in a FAISS scalar quantiser (``QT_fp16``). Half precision needs no training:
a learned range or codebook would itself hold something of the people that it was learned from. It takes half the memory
of single precision at a recall@10 above 0.999, where eight bits on a fixed scale lose a tenth of a profile's nearest
neighbours (``python -m benchmarks.vector_indices``).

FAISS finds the best rows in single precision, whose rounding depends on nothing but the vector; they are then scored
again in double precision, so that equal vectors score equally and the order is a function of the set of vectors alone.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

import faiss
import numpy as np
import numpy.typing as npt

from rag_rec.artifacts.private import make_private_folder
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.vectors.files import read_arrays, write_arrays
from rag_rec.vectors.protocol import Numbers, Scores, Vectors

FILE = "vectors.safetensors"
KIND = "flat"
FEWEST_ROWS = 16
LARGEST = float(np.finfo(np.float16).max)
SINGLE_PRECISION_ERROR = 4e-6
"""Bound of the error of a single-precision inner product of a few hundred terms, relative to the norms."""

Codes = npt.NDArray[np.float16]


class FlatIndex:
    """Implements :class:`rag_rec.vectors.protocol.VectorIndex`. Thread-safe: one lock, held for one short search."""

    def __init__(self, dimension: int, capacity: int = FEWEST_ROWS) -> None:
        if dimension < 1:
            raise InvalidInput(f"The dimension of an index is {dimension}; it must be at least 1.")
        self._dimension = dimension
        self._lock = threading.RLock()
        self._row_of: dict[int, int] = {}
        self._longest = 1.0
        self._allocate(max(1, capacity))

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    def __len__(self) -> int:
        return len(self._row_of)

    def numbers(self) -> Numbers:
        """Numbers held, ascending, int64 [n]."""
        with self._lock:
            return np.sort(self._number_at[: len(self)])

    def put(self, numbers: Numbers, vectors: Vectors) -> None:
        """Insert vectors, or overwrite in place those whose number is held.

        Args:
            numbers: int64 [n], not negative, each once.
            vectors: float32 [n, d], finite.

        Raises:
            InvalidInput: anything else; nothing was changed.
        """
        numbers = check_numbers(numbers)
        vectors = check_vectors(vectors, self._dimension)
        if len(numbers) != len(vectors) or len(np.unique(numbers)) != len(numbers) or (numbers < 0).any():
            raise InvalidInput("Vectors need one number each, not negative and none of them twice.")
        if len(vectors):
            with self._lock:
                self._longest = max(self._longest, float(np.linalg.norm(vectors, axis=1).max()))
                rows = self._rows_for(numbers)  # first of all: it may move the codes
                self._codes[rows] = vectors

    def remove(self, numbers: Numbers) -> int:
        """Overwrite and drop the vectors with these numbers, ignoring numbers not held. Returns how many went."""
        with self._lock:
            held = [number for number in np.unique(check_numbers(numbers)).tolist() if number in self._row_of]
            for number in held:
                self._drop(number)
            return len(held)

    def vectors(self, numbers: Numbers) -> Vectors:
        """The vectors as stored, float32 [n, d]. Raises ``KeyError`` for a number that is not held."""
        with self._lock:
            rows = [self._row_of[number] for number in check_numbers(numbers).tolist()]
            return self._codes[np.array(rows, dtype=np.int64)].astype(np.float32)

    def search(self, queries: Vectors, k: int) -> tuple[Numbers, Scores]:
        """The k best by inner product for each query [q, d]: numbers [q, k] and scores [q, k].

        Best first, ties by ascending number; number -1 and score -inf where there are fewer than k.

        Raises:
            InvalidInput: queries of another shape or not finite, or k below 1.
        """
        queries = check_vectors(queries, self._dimension)
        if k < 1:
            raise InvalidInput(f"k is {k}; it must be at least 1.")
        numbers = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        with self._lock:
            for place, query in enumerate(queries):
                found, score = self._best(query, min(k, len(self)))
                numbers[place, : len(found)] = found
                scores[place, : len(found)] = score
        return numbers, scores

    def save(self, folder: Path) -> None:
        """Write the index into an empty folder, by ascending number: equal contents give equal bytes."""
        with self._lock:
            numbers = self.numbers()
            codes = self._codes[[self._row_of[number] for number in numbers.tolist()]]
        make_private_folder(folder)
        codes = codes.reshape(len(numbers), self._dimension)
        write_arrays(folder / FILE, KIND, {"numbers": numbers, "codes": codes})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an index back. Raises ``CorruptIndex`` for files that are truncated, foreign or inconsistent."""
        path = folder / FILE
        arrays = read_arrays(path, KIND, {"numbers": np.dtype(np.int64), "codes": np.dtype(np.float16)})
        return cls.from_codes(arrays["numbers"], arrays["codes"], path)

    @classmethod
    def from_codes(cls, numbers: Numbers, codes: Codes, path: Path) -> Self:
        """An index of stored codes, float16 [n, d], by ascending number. ``path`` is named if they do not fit."""
        if numbers.ndim != 1 or codes.ndim != 2 or len(codes) != len(numbers) or not codes.shape[1]:
            raise CorruptIndex(f"{path.name} holds vectors that do not fit their numbers: run `rag-rec index rebuild`.")
        ascending = (np.diff(numbers) > 0).all() and (not len(numbers) or numbers[0] >= 0)
        if not ascending or not np.isfinite(codes).all():
            raise CorruptIndex(f"{path.name} holds numbers or vectors out of range: run `rag-rec index rebuild`.")
        index = cls(codes.shape[1], capacity=len(numbers))
        index.put(numbers, codes.astype(np.float32))
        return index

    def _allocate(self, capacity: int) -> None:
        """Memory for ``capacity`` rows. FAISS reads the first ``ntotal`` of them; the others are zero."""
        index = faiss.IndexScalarQuantizer(self._dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.codes.resize(capacity * index.code_size)
        self._index = index
        memory = faiss.rev_swig_ptr(index.codes.data(), capacity * index.code_size)
        self._codes: Codes = memory.view(np.float16).reshape(capacity, self._dimension)
        self._number_at = np.zeros(capacity, dtype=np.int64)

    def _reserve(self, rows: int) -> None:
        """Make room for ``rows`` rows. The memory given up is overwritten: nobody's vector stays behind in it."""
        if rows <= len(self._codes):
            return
        used, old, codes, number_at = len(self), self._index, self._codes, self._number_at
        self._allocate(max(rows, len(codes) * 5 // 4, FEWEST_ROWS))
        self._codes[:used] = codes[:used]
        self._number_at[:used] = number_at[:used]
        codes[:] = 0
        number_at[:] = 0
        del codes, old  # in this order: the array is a view of the index's memory
        self._index.ntotal = used

    def _rows_for(self, numbers: Numbers) -> npt.NDArray[np.int64]:
        """The row of each number, new rows for those not held."""
        new = [number for number in numbers.tolist() if number not in self._row_of]
        first = len(self)
        self._reserve(first + len(new))
        self._number_at[first : first + len(new)] = new
        self._row_of.update(zip(new, range(first, first + len(new)), strict=True))
        self._index.ntotal = len(self)
        return np.array([self._row_of[number] for number in numbers.tolist()], dtype=np.int64)

    def _drop(self, number: int) -> None:
        """Move the last row into the place of this one and overwrite the last with zeros."""
        row, last = self._row_of.pop(number), len(self._row_of)
        if row != last:
            self._codes[row] = self._codes[last]
            self._number_at[row] = self._number_at[last]
            self._row_of[int(self._number_at[row])] = row
        self._codes[last] = 0
        self._number_at[last] = 0
        self._index.ntotal = last

    def _best(self, query: Vectors, k: int) -> tuple[Numbers, Scores]:
        """The k best of at least k rows for one query [d]."""
        if k == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        rows = self._contenders(query, k)
        scores = inner_products(self._codes[rows], query)
        numbers = self._number_at[rows]
        order = np.lexsort((numbers, -scores))[:k]
        return numbers[order], scores[order]

    def _contenders(self, query: Vectors, k: int) -> npt.NDArray[np.int64]:
        """Rows among which the k best surely are: further rows are fetched until the tie at the k-th place is whole."""
        margin = 2 * SINGLE_PRECISION_ERROR * self._longest * float(np.linalg.norm(query))
        fetched = min(len(self), k + 16)
        while True:
            scores, rows = self._index.search(query[None], fetched)
            if fetched == len(self) or scores[0, -1] < scores[0, k - 1] - margin:
                return np.asarray(rows[0], dtype=np.int64)
            fetched = min(len(self), 4 * fetched)


def inner_products(vectors: npt.NDArray[np.floating], query: Vectors) -> Scores:
    """Inner products of vectors [n, d] with a query [d], summed in double precision, float32 [n].

    The rounding to single precision hides in which order the terms were added, so that equal vectors score equally.
    """
    products: npt.NDArray[np.float64] = vectors.astype(np.float64) @ query.astype(np.float64)
    return products.astype(np.float32)


def check_numbers(numbers: Numbers) -> Numbers:
    """The numbers as int64 [n]. Raises ``InvalidInput`` for anything that is not a list of whole numbers."""
    numbers = np.asarray(numbers)
    if numbers.ndim != 1 or (len(numbers) and not np.issubdtype(numbers.dtype, np.integer)):
        raise InvalidInput("Numbers must be whole numbers in one dimension.")
    return numbers.astype(np.int64, copy=False)


def check_vectors(vectors: Vectors, dimension: int) -> Vectors:
    """The vectors as float32 [n, d]. Raises ``InvalidInput`` for another shape or values that cannot be stored."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise InvalidInput(f"Vectors have shape {list(vectors.shape)}; expected [n, {dimension}].")
    if not (np.abs(vectors) <= LARGEST).all():
        raise InvalidInput("Vectors hold numbers that are not finite or too large for half precision.")
    return vectors
