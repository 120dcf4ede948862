"""The inverse P = (G + lambda I)^-1 of the regularised Gram matrix, kept up to date as people come and go.

EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, eq. 8) scores a row x of interactions by
x B with B = I - P / diag(P). For items outside x that is -(x P) / diag(P), so P alone is enough. A user whose row
changes from a to b changes G by b'b - a'a, and P by a Sherman-Morrison-Woodbury step.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.linalg

from rag_rec.candidates.counts import CountMatrix, Ids, capacity

Floats = npt.NDArray[np.float64]

PENDING_LIMIT = 32
"""Rows that wait before they are folded into P: one block costs little more than one row."""

PROBE_EVERY = 16
"""Blocks between two measurements of the drift."""

BAND = 256
"""Rows of P that are updated at a time, so that intermediate results stay in the processor's cache."""

RESIDUAL_BOUND = 1e-10
"""Largest residual |(G + lambda I) P v - v| / |v| that is tolerated before P is computed afresh."""


class GramInverse:
    """P for a catalogue of n items, float64 [n, n].

    One writer, any number of readers: P is never changed in place but replaced by one assignment, so that a reader
    who has fetched :attr:`matrix` keeps a consistent one.
    """

    def __init__(self, gram: CountMatrix, regularisation: float) -> None:
        self._gram = gram
        self._regularisation = regularisation
        self._pending: dict[bytes, tuple[Ids, int]] = {}
        self._blocks = 0
        self.rebuilds = 0
        self._held: tuple[Floats, Floats] = (np.empty((0, 0)), np.empty(0))
        self.rebuild()

    @property
    def matrix(self) -> Floats:
        """P, [n, n]. Do not write."""
        return self._held[0]

    @property
    def held(self) -> tuple[Floats, Floats]:
        """P and its diagonal, [n, n] and [n], as of one moment. Reading it off P costs a cache miss for every item."""
        return self._held

    @property
    def pending(self) -> int:
        """Rows that wait to be folded in."""
        return len(self._pending)

    def change(self, items: Ids, sign: int) -> None:
        """Queue a user's row of distinct items, to be added (``sign`` 1) or subtracted (-1).

        A row that is queued with both signs cancels, so a user who acts many times in a row costs one row.
        """
        if not len(items):
            return
        ordered = np.sort(items.astype(np.int64))
        key = ordered.tobytes()
        _, waiting = self._pending.pop(key, (ordered, 0))
        if waiting + sign:
            self._pending[key] = (ordered, waiting + sign)

    def flush(self) -> None:
        """Fold the queued rows into P now. The Gram matrix must hold them already."""
        if not self._pending:
            return
        changes = list(self._pending.values())
        self._pending.clear()
        self._blocks += 1
        self._hold(_updated(self.matrix, changes))
        if self._blocks % PROBE_EVERY == 0 and self.residual() > RESIDUAL_BOUND:
            self.rebuild()

    def rebuild(self) -> None:
        """Compute P from the Gram matrix."""
        self._pending.clear()
        self._hold(_inverse(self._dense_gram()))
        self.rebuilds += 1

    def residual(self) -> float:
        """How far P has drifted: |(G + lambda I) P v - v| / |v| for a fixed vector v of random signs."""
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=len(self.matrix))
        image = self.matrix @ signs
        restored = self._gram.weighted_sum(np.arange(len(image)), image[None, :])[0] + self._regularisation * image
        return float(np.linalg.norm(restored - signs) / np.linalg.norm(signs))

    def grow(self, size: int) -> None:
        """Add items that nobody has interacted with: their part of P is I / lambda."""
        old = len(self.matrix)
        if size <= old:
            return
        room = self.matrix.base
        if room is None or len(room) < size:
            room = np.zeros((capacity(size),) * 2)
            room[:old, :old] = self.matrix
        new = np.arange(old, size)
        room[new, new] = 1.0 / self._regularisation
        self._hold(room[:size, :size])

    def _hold(self, matrix: Floats) -> None:
        self._held = (matrix, matrix.diagonal().copy())

    def _dense_gram(self) -> Floats:
        gram = np.zeros((self._gram.size,) * 2)
        rows, columns, values = self._gram.entries()
        gram[rows, columns] = values
        gram[np.diag_indices_from(gram)] += self._regularisation
        return gram


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


def _updated(matrix: Floats, changes: list[tuple[Ids, int]]) -> Floats:
    """P after G has changed by sum_k sign_k u_k u_k', by the Woodbury identity; ``matrix`` is left alone.

    P' = P - P U (S + U'PU)^-1 U'P with U = [u_1 ...] and S = diag(1 / sign_k).
    """
    projected = np.stack([matrix[items].sum(axis=0) for items, _ in changes])  # U'P, [k, n]
    core = np.stack([projected[:, items].sum(axis=1) for items, _ in changes], axis=1)  # U'PU, [k, k]
    core[np.diag_indices_from(core)] += [1.0 / sign for _, sign in changes]
    solved = np.linalg.solve(core, projected)
    room = matrix.base.shape if matrix.base is not None else matrix.shape  # spare room is kept, see grow()
    updated = np.zeros(room)[: len(matrix), : len(matrix)]
    for start in range(0, len(matrix), BAND):
        band = slice(start, start + BAND)
        np.subtract(matrix[band], projected[:, band].T @ solved, out=updated[band])
    return updated
