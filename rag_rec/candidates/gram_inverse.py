"""The inverse P = (G + lambda I)^-1 of the regularised Gram matrix, kept up to date as people come and go.

EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, eq. 8) scores a row x of interactions by
x B with B = I - P / diag(P). For items outside x that is -(x P) / diag(P), so P alone is enough. A user whose row
changes from a to b changes G by b'b - a'a, and P by a Sherman-Morrison-Woodbury step.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from rag_rec.candidates.counts import CountMatrix, Ids, capacity
from rag_rec.candidates.spare_array import SpareArray

Floats = npt.NDArray[np.float64]
Held = tuple[Floats, Floats]
Queue = dict[bytes, tuple[Ids, int]]

PENDING_LIMIT = 32
"""Rows that wait before they are folded into P: one block costs little more than one row."""

MOST_FOLDED = 0.25
"""Rows that are folded in together at most, as a share of the items: beyond it, P is computed afresh in less time."""

PROBE_EVERY = 16
"""Blocks between two measurements of the drift."""

PROBED = 64
"""Rows of P that such a measurement looks at. The next one takes the next rows, so that it never takes long."""

BAND = 256
"""Rows of P that are updated at a time, so that intermediate results stay in the processor's cache."""

RESIDUAL_BOUND = 1e-10
"""Largest residual |(G + lambda I) P v - v| / |v| that is tolerated before P is computed afresh."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What P and its diagonal become when these rows, and no others, are folded into ``base``."""

    base: Floats
    signs: Mapping[bytes, int]
    held: Held


class GramInverse:
    """P for a catalogue of n items, float64 [n, n].

    One writer, any number of rerankers: P is never changed in place but replaced by one assignment, so that a reranker
    who has fetched :attr:`matrix` keeps a consistent one. :meth:`prepare` and :meth:`discard` may be called by any
    thread at any time.
    """

    def __init__(self, gram: CountMatrix, regularisation: float) -> None:
        self._gram = gram
        self._regularisation = regularisation
        self._pending: Queue = {}
        self._prepared: _Prepared | None = None
        self._queueing = threading.Lock()  # what waits, the P that it is for, and what was prepared belong together
        self._spare = SpareArray()
        self._changes = 0
        self._folded = 0
        self._blocks = 0
        self.rebuilds = 0
        self._held: Held = (np.empty((0, 0)), np.empty(0))
        self.rebuild()

    @property
    def matrix(self) -> Floats:
        """P, [n, n]. Do not write."""
        return self._held[0]

    @property
    def held(self) -> Held:
        """P and its diagonal, [n, n] and [n], as of one moment. Reading it off P costs a cache miss for every item."""
        return self._held

    @property
    def pending(self) -> int:
        """Rows that wait to be folded in."""
        return len(self._pending)

    @property
    def changes(self) -> int:
        """How many rows have been queued so far."""
        return self._changes

    @property
    def folded(self) -> int:
        """How many of the rows that were queued, the first ones, P stands for."""
        return self._folded

    @property
    def total(self) -> int:
        """Sum of the Gram matrix that P stands for once what waits has been folded in: costs nothing to read."""
        return self._total

    def change(self, items: Ids, sign: int) -> None:
        """Queue a user's row of distinct items, to be added (``sign`` 1) or subtracted (-1).

        A row that is queued with both signs cancels, so a user who acts many times in a row costs one row.
        """
        with self._queueing:
            _enqueue(self._pending, items, sign)
            self._changes += 1
            self._total += sign * len(items) ** 2

    def prepare(self, changes: Iterable[tuple[Ids, int]]) -> None:
        """Compute P as it will be when these rows have been queued, beside the present P, which is left alone.

        A :meth:`flush` that comes to the same rows and the same P takes the result over at once; any other drops it.
        Only the latest one prepared is kept.
        """
        with self._queueing:
            base, queue = self.matrix, dict(self._pending)
            self._prepared = None
        for items, sign in changes:
            _enqueue(queue, items, sign)
        if not queue:
            return
        held = self._updated(base, queue)
        with self._queueing:
            if self.matrix is base:
                self._prepared = _Prepared(base, _signs(queue), held)
            else:
                self._spare.keep(held[0])

    def discard(self) -> None:
        """Drop what was prepared."""
        with self._queueing:
            if self._prepared is not None:
                self._spare.keep(self._prepared.held[0])
            self._prepared = None

    def flush(self) -> None:
        """Fold the queued rows into P now. The Gram matrix must hold them already."""
        with self._queueing:
            queue, prepared, changes = self._pending, self._prepared, self._changes
            self._pending, self._prepared = {}, None
        if queue:
            self._fold(queue, prepared)
        self._folded = changes

    def rebuild(self) -> None:
        """Compute P from the Gram matrix."""
        with self._queueing:
            self._pending, self._prepared = {}, None
        self._held = _with_diagonal(_inverse(self._dense_gram()))
        self._total = self._gram.total
        self._folded = self._changes
        self.rebuilds += 1

    def grow(self, size: int) -> None:
        """Add items without an interaction: their part of P is I / lambda."""
        old = len(self.matrix)
        if size <= old:
            return
        room = self.matrix.base
        if room is None or len(room) < size:
            room = np.zeros((capacity(size),) * 2)
            room[:old, :old] = self.matrix
        new = np.arange(old, size)
        room[new, new] = 1.0 / self._regularisation
        self._held = _with_diagonal(room[:size, :size])

    def _fold(self, queue: Queue, prepared: _Prepared | None) -> None:
        if len(queue) > max(PENDING_LIMIT, MOST_FOLDED * len(self.matrix)):
            self.rebuild()
            return
        old = self.matrix
        if prepared is not None and prepared.base is old and prepared.signs == _signs(queue):
            self._held = prepared.held
        else:
            self._held = self._updated(old, queue)
        self._spare.keep(old)
        self._blocks += 1
        if self._blocks % PROBE_EVERY == 0 and self._probe() > RESIDUAL_BOUND:
            self.rebuild()

    def _updated(self, matrix: Floats, queue: Queue) -> Held:
        """P after the queued changes, and its diagonal, in memory of its own."""
        room = matrix.shape if matrix.base is None else matrix.base.shape  # spare room is kept, see grow()
        target = self._spare.take(room)[: len(matrix), : len(matrix)]
        _update(matrix, list(queue.values()), target)
        return _with_diagonal(target)

    def _probe(self) -> float:
        """The drift of some rows of P: how far (G + lambda I) P is from I there, by row."""
        size = len(self.matrix)
        first = self._blocks // PROBE_EVERY * PROBED
        rows = (first + np.arange(min(PROBED, size))) % size
        inverse = self.matrix[rows]
        restored = self._gram.block(rows, np.arange(size)) @ inverse.T + self._regularisation * inverse[:, rows].T
        return float(np.linalg.norm(restored - np.eye(len(rows))) / np.sqrt(len(rows)))

    def _dense_gram(self) -> Floats:
        gram = np.zeros((self._gram.size,) * 2)
        rows, columns, values = self._gram.entries()
        gram[rows, columns] = values
        gram[np.diag_indices_from(gram)] += self._regularisation
        return gram


def _enqueue(queue: Queue, items: Ids, sign: int) -> None:
    """Add a signed row to those that wait; a row that is there with the other sign cancels."""
    if not len(items):
        return
    ordered = np.sort(items.astype(np.int64))
    key = ordered.tobytes()
    _, waiting = queue.pop(key, (ordered, 0))
    if waiting + sign:
        queue[key] = (ordered, waiting + sign)


def _signs(queue: Queue) -> dict[bytes, int]:
    return {key: sign for key, (_, sign) in queue.items()}


def _with_diagonal(matrix: Floats) -> Held:
    return matrix, matrix.diagonal().copy()


def _inverse(matrix: Floats) -> Floats:
    """Inverse of a symmetric positive definite matrix, exactly symmetric, by Cholesky. ``matrix`` is overwritten."""
    factor, failed = scipy.linalg.lapack.dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError("The regularised Gram matrix is not positive definite.")
    inverse, _ = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse)
    symmetric = lower + lower.T
    symmetric[np.diag_indices_from(symmetric)] /= 2.0
    return np.ascontiguousarray(symmetric)


def _update(matrix: Floats, changes: list[tuple[Ids, int]], target: Floats) -> None:
    """Write P after G has changed by sum_k sign_k u_k u_k', by the Woodbury identity; ``matrix`` is left alone.

    P' = P - P U (S + U'PU)^-1 U'P with U = [u_1 ...] and S = diag(1 / sign_k).
    """
    projected = np.stack([matrix[items].sum(axis=0) for items, _ in changes])  # U'P, [k, n]
    core = np.stack([projected[:, items].sum(axis=1) for items, _ in changes], axis=1)  # U'PU, [k, k]
    core[np.diag_indices_from(core)] += [1.0 / sign for _, sign in changes]
    solved = np.linalg.solve(core, projected)
    for start in range(0, len(matrix), BAND):
        band = slice(start, start + BAND)
        np.subtract(matrix[band], projected[:, band].T @ solved, out=target[band])
