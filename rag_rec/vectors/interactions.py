"""Every user's interactions as vectors, each user's list separate from everybody else's.

An interaction without a text of its own is 12 bytes, its number and its item's number: its vector is the item's, which
is not personal and is looked up where it lives. The vectors of a user's interactions with a text of their own are a
small FAISS index that belongs to this user alone. So a search inside one history reads that history and nothing else,
and a removal touches one list only.

One FAISS inverted file with a list per user was the alternative. Its number of lists is fixed when it is made, and its
lists keep their capacity when they shrink; separate indices need neither a copy to grow nor a tombstone.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rag_rec.errors import InvalidInput
from rag_rec.vectors.flat import FlatIndex, check_numbers, check_vectors, inner_products
from rag_rec.vectors.protocol import Numbers, Scores, Vectors

ROW_DTYPE = np.dtype([("interaction", "<i8"), ("item", "<i4")])


class ItemVectors(Protocol):
    """Where the vectors of items are looked up, such as the item index."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def vectors(self, numbers: Numbers) -> Vectors:
        """The vectors of items, float32 [n, d]."""


@dataclass(frozen=True, slots=True)
class _UserList:
    """``rows`` of :data:`ROW_DTYPE` [n] in the order put; ``own`` holds the vectors of those with their own text."""

    rows: npt.NDArray[np.void]
    own: FlatIndex | None


class InteractionIndex:
    """Implements :class:`rag_rec.vectors.protocol.InteractionVectors`. Thread-safe."""

    def __init__(self, items: ItemVectors) -> None:
        self._items = items
        self._lists: dict[int, _UserList] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        with self._lock:
            return sum(len(held.rows) for held in self._lists.values())

    def users(self) -> Numbers:
        """Users held, ascending."""
        with self._lock:
            return np.sort(np.fromiter(self._lists, dtype=np.int64, count=len(self._lists)))

    def put(self, user: int, interactions: Numbers, items: npt.NDArray[np.int32], own: Mapping[int, Vectors]) -> None:
        """Replace a user's list; an empty one removes it.

        Args:
            user: the user's number.
            interactions: interaction numbers, int64 [n], each once.
            items: item numbers, int32 [n].
            own: interaction number to its own vector, float32 [d].

        Raises:
            InvalidInput: lengths that differ, a number twice, or a vector for an interaction not in the list;
                nothing was changed.
        """
        rows = _rows(interactions, items)
        own_index = self._own_index(rows, own)
        with self._lock:
            self.remove(user)
            if len(rows):
                self._lists[user] = _UserList(rows, own_index)

    def remove(self, user: int) -> int:
        """Overwrite and drop a user's list. Returns how many interactions went."""
        with self._lock:
            held = self._lists.pop(user, None)
            if held is None:
                return 0
            if held.own is not None:
                held.own.remove(held.own.numbers())
            held.rows[...] = np.zeros((), dtype=ROW_DTYPE)
            return len(held.rows)

    def interactions(self, user: int) -> Numbers:
        """The interactions of a user in the order in which they were put; empty for a user who is not held."""
        with self._lock:
            held = self._lists.get(user)
            return held.rows["interaction"].copy() if held else np.empty(0, dtype=np.int64)

    def own_numbers(self, user: int) -> Numbers:
        """The user's interactions that have a vector of their own, ascending, int64 [m]."""
        with self._lock:
            held = self._lists.get(user)
            return held.own.numbers() if held and held.own else np.empty(0, dtype=np.int64)

    def vectors(self, user: int) -> Vectors:
        """The vectors of the user's interactions in the same order, float32 [n, d]."""
        with self._lock:
            held = self._lists.get(user)
            if held is None:
                return np.empty((0, self._items.dimension), dtype=np.float32)
            referring = self._referring(held)
            if referring.all():
                return self._items.vectors(held.rows["item"].astype(np.int64))
            vectors = np.empty((len(held.rows), self._items.dimension), dtype=np.float32)
            vectors[referring] = self._items.vectors(held.rows["item"][referring].astype(np.int64))
            if held.own is not None:
                vectors[~referring] = held.own.vectors(held.rows["interaction"][~referring])
            return vectors

    def search(self, user: int, queries: Vectors, k: int) -> tuple[Numbers, Scores]:
        """The k best interactions of this user for each query [q, d]: numbers [q, k] and scores [q, k].

        Best first, ties by ascending number; number -1 and score -inf where there are fewer than k.

        Raises:
            InvalidInput: queries of another shape or not finite, or k below 1.
        """
        queries = check_vectors(queries, self._items.dimension)
        if k < 1:
            raise InvalidInput(f"k is {k}; it must be at least 1.")
        numbers = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        with self._lock:
            held = self._lists.get(user)
            if held is not None:
                for place, query in enumerate(queries):
                    found, score = self._best(held, query, k)
                    numbers[place, : len(found)] = found
                    scores[place, : len(found)] = score
        return numbers, scores

    def _own_index(self, rows: npt.NDArray[np.void], own: Mapping[int, Vectors]) -> FlatIndex | None:
        if not own:
            return None
        numbers = check_numbers(np.array(sorted(own), dtype=np.int64))
        if not np.isin(numbers, rows["interaction"]).all():
            raise InvalidInput("A vector was given for an interaction that is not in the user's list.")
        index = FlatIndex(self._items.dimension, capacity=len(numbers))
        index.put(numbers, np.stack([own[number] for number in numbers.tolist()]))
        return index

    def _referring(self, held: _UserList) -> npt.NDArray[np.bool_]:
        """Which rows refer to their item's vector, bool [n]."""
        if held.own is None:
            return np.ones(len(held.rows), dtype=np.bool_)
        return ~np.isin(held.rows["interaction"], held.own.numbers())

    def _best(self, held: _UserList, query: Vectors, k: int) -> tuple[Numbers, Scores]:
        referring = held.rows[self._referring(held)]
        numbers = referring["interaction"]
        scores = inner_products(self._items.vectors(referring["item"].astype(np.int64)), query)
        if held.own is not None:
            own_numbers, own_scores = held.own.search(query[None], min(k, len(held.own)))
            numbers, scores = np.append(numbers, own_numbers[0]), np.append(scores, own_scores[0])
        order = np.lexsort((numbers, -scores))[:k]
        return numbers[order], scores[order]


def _rows(interactions: Numbers, items: npt.NDArray[np.int32]) -> npt.NDArray[np.void]:
    interactions, items = check_numbers(interactions), np.asarray(items)
    if interactions.shape != items.shape or len(np.unique(interactions)) != len(interactions):
        raise InvalidInput("A user's interactions need one item each, and none may be named twice.")
    rows = np.empty(len(interactions), dtype=ROW_DTYPE)
    rows["interaction"], rows["item"] = interactions, items
    return rows
