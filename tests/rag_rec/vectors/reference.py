"""The slow and obvious truth that the indices are compared with: dictionaries and a sort."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np

from rag_rec.errors import CorruptIndex
from rag_rec.vectors.interactions import ItemVectors
from rag_rec.vectors.protocol import Numbers, Scores, Vectors


def best(held: Mapping[int, Vectors], queries: Vectors, k: int) -> tuple[Numbers, Scores]:
    """Brute force: every score in double precision, sorted by (-score, number)."""
    numbers = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for place, query in enumerate(queries):
        exact = {number: np.float32(vector.astype(float) @ query.astype(float)) for number, vector in held.items()}
        for rank, (number, score) in enumerate(sorted(exact.items(), key=lambda pair: (-pair[1], pair[0]))[:k]):
            numbers[place, rank], scores[place, rank] = number, score
    return numbers, scores


class ReferenceIndex:
    """A :class:`rag_rec.vectors.protocol.VectorIndex` made of a dictionary."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._held: dict[int, Vectors] = {}

    @property
    def dimension(self) -> int:
        return self._dimension

    def __len__(self) -> int:
        return len(self._held)

    def numbers(self) -> Numbers:
        return np.array(sorted(self._held), dtype=np.int64)

    def put(self, numbers: Numbers, vectors: Vectors) -> None:
        for number, vector in zip(numbers.tolist(), vectors, strict=True):
            self._held[number] = vector.astype(np.float16).astype(np.float32)

    def remove(self, numbers: Numbers) -> int:
        return sum(self._held.pop(number, None) is not None for number in numbers.tolist())

    def vectors(self, numbers: Numbers) -> Vectors:
        rows = [self._held[number] for number in numbers.tolist()]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._dimension)

    def search(self, queries: Vectors, k: int) -> tuple[Numbers, Scores]:
        return best(self._held, queries, k)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "reference.npz", numbers=self.numbers(), vectors=self.vectors(self.numbers()))

    @classmethod
    def load(cls, folder: Path) -> Self:
        try:
            with np.load(folder / "reference.npz") as arrays:
                index = cls(arrays["vectors"].shape[1])
                index.put(arrays["numbers"], arrays["vectors"])
        except (OSError, ValueError, EOFError):
            raise CorruptIndex("The reference file is damaged.") from None
        return index


class ReferenceInteractions:
    """A :class:`rag_rec.vectors.protocol.InteractionVectors` made of dictionaries."""

    def __init__(self, items: ItemVectors) -> None:
        self._items = items
        self._held: dict[int, dict[int, Vectors | int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def users(self) -> Numbers:
        return np.array(sorted(self._held), dtype=np.int64)

    def put(self, user: int, interactions: Numbers, items: np.ndarray, own: Mapping[int, Vectors]) -> None:
        self._held.pop(user, None)
        pairs = zip(interactions.tolist(), items.tolist(), strict=True)
        rows: dict[int, Vectors | int] = {number: own.get(number, item) for number, item in pairs}
        if rows:
            self._held[user] = rows

    def remove(self, user: int) -> int:
        return len(self._held.pop(user, {}))

    def interactions(self, user: int) -> Numbers:
        return np.array(list(self._held.get(user, {})), dtype=np.int64)

    def vectors(self, user: int) -> Vectors:
        rows = [self._vector(row) for row in self._held.get(user, {}).values()]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._items.dimension)

    def search(self, user: int, queries: Vectors, k: int) -> tuple[Numbers, Scores]:
        return best(dict(zip(self.interactions(user).tolist(), self.vectors(user), strict=True)), queries, k)

    def _vector(self, row: Vectors | int) -> Vectors:
        if isinstance(row, int):
            found: Vectors = self._items.vectors(np.array([row]))[0]
            return found
        rounded: Vectors = row.astype(np.float16).astype(np.float32)
        return rounded
