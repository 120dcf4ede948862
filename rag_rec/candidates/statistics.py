"""Everything that is known about people together: exact integer counts, and the inverse that EASE needs.

One function, :meth:`Statistics.replace`, serves online learning and unlearning: it subtracts a user's old history and
adds the new one. Since counts are integers, a person who leaves takes away exactly what they brought. Nothing here is
written to disk: statistics are counted again from the histories when an index is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse

from rag_rec.candidates.counts import CountMatrix, Entries, count_matrix
from rag_rec.candidates.gram_inverse import PENDING_LIMIT, GramInverse
from rag_rec.candidates.lagged_pairs import LAG_UNIT, WINDOW, LaggedPairs, concatenate, lagged_pairs
from rag_rec.candidates.popularity import Popularity
from rag_rec.candidates.sequences import Sequences
from rag_rec.errors import InvalidInput
from rag_rec.events.history import History, empty_history

REGULARISATION: Final = 500.0
"""lambda of EASE, a good value for MovieLens; smaller catalogues with short histories want less."""

TRANSITIONS: Final = ("followed", "preceded", "next", "previous", "after", "before")
"""Names of the ordered count matrices. Row i, column j of each counts the users who chose ...

``followed``: j after i within the window, times ``LAG_UNIT / lag``; ``next``: j directly after i; ``after``: j after i
within the window. ``preceded``, ``previous`` and ``before`` are their transposes, kept so that both are read by row.
"""

_TRANSPOSED: Final = {"followed": "preceded", "next": "previous", "after": "before"}
_ALWAYS_SPARSE: Final = ("next",)  # and its transpose: few counts, and a query reads a single row of them


class Statistics:
    """Counts over ``n_items`` items, numbered by item.

    Attributes:
        together: how many users chose both items (the Gram matrix G = X'X; its diagonal is the popularity).
        transitions: the matrices named in :data:`TRANSITIONS`.
        popularity: choices of each item, total and by period.
        sequences: the histories themselves, searched for passages that resemble a user's last items.
        inverse: P for EASE where the representation is dense, else None.

    One thread may write; any number may read at the same time.
    """

    def __init__(
        self,
        together: CountMatrix,
        transitions: dict[str, CountMatrix],
        popularity: Popularity,
        sequences: Sequences,
        inverse: GramInverse | None,
    ) -> None:
        self.together = together
        self.transitions = transitions
        self.popularity = popularity
        self.sequences = sequences
        self.inverse = inverse
        self._n_items = together.size
        self._taken_away = 0  # as the inverse counts its changes: up to there P must stand for them

    @classmethod
    def build(
        cls,
        histories: Iterable[tuple[int, History]],
        n_items: int,
        *,
        dense: bool,
        regularisation: float = REGULARISATION,
    ) -> Statistics:
        """Count the positive histories of all users.

        Args:
            histories: (user number, positive history) with each item at most once in a history, and interaction
                numbers that no two users share.
            n_items: size of the catalogue; every item number is below it.
            dense: keep full matrices, and P. Use it up to ``Settings.dense_items_limit`` items.
            regularisation: lambda of EASE.

        Raises:
            InvalidInput: a history names an item outside the catalogue.
        """
        rows, owners = concatenate([history for _, history in histories])
        _check_items(rows, n_items)
        together = count_matrix(_cooccurrence(rows, owners, n_items), dense=dense)
        transitions = _count_transitions(list(lagged_pairs(rows, owners)), n_items, dense=dense)
        popularity = Popularity(n_items)
        popularity.change(rows, 1)
        sequences = Sequences(rows, owners, n_items)
        inverse = GramInverse(together, regularisation) if dense else None
        return cls(together, transitions, popularity, sequences, inverse)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return self._n_items

    @property
    def dense(self) -> bool:
        """Whether full matrices and P are kept."""
        return self.inverse is not None

    @property
    def bytes(self) -> int:
        """Memory held by counts and P."""
        inverse = self.inverse.matrix.nbytes if self.inverse else 0
        counts = sum(matrix.bytes for matrix in self._matrices().values())
        return counts + self.popularity.bytes + self.sequences.bytes + inverse

    def replace(self, old: History, new: History) -> None:
        """Subtract a user's ``old`` positive history and add the ``new`` one.

        Join, act, forget in part and forget altogether are this one function (an empty ``old`` joins, an empty ``new``
        forgets). Integers change at once, P with the :meth:`settle` that has to follow one or more replacements.

        Raises:
            InvalidInput: ``new`` names an item outside the catalogue, or ``old`` is not held; nothing was changed.
        """
        _check_items(new, self._n_items)
        self.sequences.check(old)
        self._replace_pairs(old, new)
        self._replace_cooccurrence(old["item"], new["item"])
        self.popularity.change(old, -1)
        self.popularity.change(new, 1)
        self.sequences.replace(old, new)
        if self.inverse is not None:
            self.inverse.change(old["item"], -1)
            self.inverse.change(new["item"], 1)
            if not np.isin(old["item"], new["item"]).all():
                self._taken_away = self.inverse.changes

    def settle(self) -> None:
        """Bring P up to date: at once if an item was taken from anybody, else when ``PENDING_LIMIT`` rows wait."""
        inverse = self.inverse
        if inverse is not None and (inverse.folded < self._taken_away or inverse.pending >= PENDING_LIMIT):
            inverse.flush()

    def forget(self, history: History) -> None:
        """Subtract a whole user."""
        self.replace(history, empty_history())
        self.settle()

    def prepare(self, old: History, new: History) -> None:
        """Compute P ahead for a later :meth:`replace` and :meth:`settle`, which are quick then.

        May be called by any thread while another one writes. What was prepared serves only if nothing else changes
        before; :meth:`discard` frees it if the replacement does not come.
        """
        if self.inverse is not None:
            self.inverse.prepare([(old["item"], -1), (new["item"], 1)])

    def discard(self) -> None:
        """Free what was prepared."""
        if self.inverse is not None:
            self.inverse.discard()

    def flush(self) -> None:
        """Fold everything that waits into P now."""
        if self.inverse is not None:
            self.inverse.flush()

    def grow(self, n_items: int) -> None:
        """Add items that were not chosen yet. Readers see the new size last."""
        for matrix in self._matrices().values():
            matrix.grow(n_items)
        self.popularity.grow(n_items)
        self.sequences.grow(n_items)
        if self.inverse is not None:
            self.inverse.grow(n_items)
        self._n_items = max(n_items, self._n_items)

    def affinity(self, items: npt.NDArray[np.integer], others: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Cosine of co-occurrence G_ij / sqrt(G_ii G_jj) of each item with each other, float64 [k, e] in [0, 1]."""
        distinct, places = np.unique(others, return_inverse=True)
        together = self.together.block(items, distinct)
        popularity = self.popularity.total
        norms = np.sqrt(np.outer(popularity[items], popularity[distinct]))
        cosines = np.divide(together, norms, out=np.zeros(norms.shape), where=norms > 0)
        return np.asarray(cosines[:, places])

    def export(self) -> dict[str, Entries]:
        """All integers that are not zero, by name: equal statistics give equal arrays, dense or sparse."""
        counts = {name: matrix.entries() for name, matrix in self._matrices().items()}
        return {**counts, "popularity": self.popularity.entries()}

    def sound(self, lengths: npt.NDArray[np.int64]) -> bool:
        """Whether everything adds up to users whose positive histories are this long, int64 [users].

        Who was not added or not subtracted somewhere, or still waits to be subtracted from P, makes it unsound. This
        takes no pass over the matrices, which keep their sums.
        """
        rows = int(lengths.sum())
        total = self.popularity.total.sum()
        counted = [total, self.popularity.counted, self.sequences.rows]
        expected = {"together": int((lengths**2).sum())} | {name: _pairs(lengths, name) for name in _TRANSPOSED}
        expected |= {transposed: expected[name] for name, transposed in _TRANSPOSED.items()}
        return (
            all(count == rows for count in counted)
            and all(matrix.total == expected[name] for name, matrix in self._matrices().items())
            and (self.inverse is None or self._inverse_sound(self.inverse))
        )

    def equal(self, other: Statistics) -> bool:
        """Whether every integer is the same."""
        mine, theirs = self.export(), other.export()
        return self._n_items == other.n_items and all(
            np.array_equal(a, b) for name in mine for a, b in zip(mine[name], theirs[name], strict=True)
        )

    def _matrices(self) -> dict[str, CountMatrix]:
        return {"together": self.together, **self.transitions}

    def _inverse_sound(self, inverse: GramInverse) -> bool:
        return inverse.total == self.together.total and inverse.folded >= self._taken_away

    def _replace_pairs(self, old: History, new: History) -> None:
        """Change transitions by the pairs that differ: those that end behind what both histories begin with."""
        shared = _common_prefix(old["item"], new["item"])
        for history, sign in ((old, -1), (new, 1)):
            batches = list(lagged_pairs(history, np.zeros(len(history), dtype=np.int64), context=shared))
            if not batches:  # nothing that is followed by anything
                continue
            for name, transposed in _TRANSPOSED.items():
                first, second, amounts = _joined(batches, name)
                self.transitions[name].add(first, second, sign * amounts)
                self.transitions[transposed].add(second, first, sign * amounts)

    def _replace_cooccurrence(self, old: npt.NDArray[np.int32], new: npt.NDArray[np.int32]) -> None:
        kept = np.intersect1d(old, new)
        for items, sign in ((np.setdiff1d(old, new), -1), (np.setdiff1d(new, old), 1)):
            self.together.add_block(items, np.concatenate([items, kept]), sign)
            self.together.add_block(kept, items, sign)


def _amounts(lag: int) -> dict[str, int]:
    """What a pair at ``lag`` adds to each matrix."""
    amounts = {"followed": LAG_UNIT // lag, "after": 1}
    return {**amounts, "next": 1} if lag == 1 else amounts


def _pairs(lengths: npt.NDArray[np.int64], name: str) -> int:
    """Sum of a transition matrix that counts histories of these lengths."""
    amounts = {lag: _amounts(lag).get(name, 0) for lag in range(1, WINDOW + 1)}
    return sum(amount * int(np.maximum(lengths - lag, 0).sum()) for lag, amount in amounts.items())


def _cooccurrence(rows: History, owners: npt.NDArray[np.int64], n_items: int) -> scipy.sparse.coo_array:
    users = int(owners[-1]) + 1 if len(owners) else 0
    ones = np.ones(len(rows), dtype=np.int64)
    chosen = scipy.sparse.csr_array((ones, (owners, rows["item"])), shape=(users, n_items))
    return scipy.sparse.coo_array(chosen.T @ chosen)


def _count_transitions(batches: list[LaggedPairs], n_items: int, *, dense: bool) -> dict[str, CountMatrix]:
    matrices: dict[str, CountMatrix] = {}
    shape = (n_items, n_items)
    for name, transposed in _TRANSPOSED.items():
        first, second, amounts = _joined(batches, name)
        forward = scipy.sparse.coo_array((amounts, (first, second)), shape=shape)
        full = dense and name not in _ALWAYS_SPARSE
        matrices[name] = count_matrix(forward, dense=full)
        matrices[transposed] = count_matrix(scipy.sparse.coo_array(forward.T), dense=full)
    return {name: matrices[name] for name in TRANSITIONS}


def _joined(batches: list[LaggedPairs], name: str) -> Entries:
    """The pairs of all lags that one matrix counts: firsts, seconds and amounts."""
    used = [pairs for pairs in batches if name in _amounts(pairs.lag)]
    amounts = np.array([_amounts(pairs.lag)[name] for pairs in used], dtype=np.int64)
    none = np.empty(0, dtype=np.int64)
    first = np.concatenate([none, *(pairs.first for pairs in used)])
    second = np.concatenate([none, *(pairs.second for pairs in used)])
    return first, second, np.repeat(amounts, [len(pairs.first) for pairs in used])


def _common_prefix(old: npt.NDArray[np.int32], new: npt.NDArray[np.int32]) -> int:
    """How many leading items two histories share."""
    shorter = min(len(old), len(new))
    differing = np.flatnonzero(old[:shorter] != new[:shorter])
    return int(differing[0]) if len(differing) else shorter


def _check_items(history: History, n_items: int) -> None:
    if len(history) and not 0 <= int(history["item"].min()) <= int(history["item"].max()) < n_items:
        raise InvalidInput("A history names an item that is not in the catalogue: add the item first.")
