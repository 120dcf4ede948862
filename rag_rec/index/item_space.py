"""The items as the pipeline sees them: catalogue, text vectors and interest clusters, all by item number.

Nothing in here is personal: it is made from the catalogue alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from rag_rec.artifacts.private import write_durably
from rag_rec.catalogue.table import Catalogue
from rag_rec.domain import Item
from rag_rec.errors import CorruptIndex
from rag_rec.evidence.clusters import InterestClusters
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.protocol import Embedder, Vectors

DIGEST_BYTES = 16
TEXTS = "texts.safetensors"
CLUSTERS = "clusters.safetensors"


@dataclass(frozen=True, slots=True)
class ItemTexts:
    """What was embedded: a digest of each item's text, uint8 [n, 16], and its number of tokens, int32 [n].

    By the digest a later build knows which vectors it can take over.
    """

    digests: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.int32]

    def save(self, folder: Path) -> None:
        """Write into a folder."""
        write_durably(folder / TEXTS, save({"digests": self.digests, "tokens": self.tokens}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back. Raises ``CorruptIndex``."""
        try:
            arrays = load_file(folder / TEXTS)
            return cls(arrays["digests"], arrays["tokens"])
        except (OSError, SafetensorError, KeyError):
            raise CorruptIndex("The item texts of the index are damaged: run `rag-rec index rebuild`.") from None


def text_digests(texts: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Digests of texts, uint8 [n, 16]."""
    joined = b"".join(hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest() for text in texts)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(texts), DIGEST_BYTES).copy()


class ItemSpace:
    """Grows by :meth:`put`; readers may go on reading meanwhile, since arrays are only ever replaced or appended to."""

    def __init__(self, catalogue: Catalogue, index: FlatIndex, clusters: InterestClusters, embedder: Embedder) -> None:
        self.catalogue = catalogue
        self.index = index
        self._centroids = clusters
        self._embedder = embedder
        numbers = np.arange(len(index), dtype=np.int64)
        self._vectors = _Growing(index.vectors(numbers))
        self._clusters = _Growing(clusters.assign(self._vectors.rows))

    @classmethod
    def load(cls, folder: Path, items: Iterable[Item], embedder: Embedder) -> Self:
        """The item side of a generation. Items that the store has and the generation has not are left to a replay."""
        index = FlatIndex.load(folder / "index")
        texts = ItemTexts.load(folder)
        if len(texts.tokens) != len(index):
            raise CorruptIndex("The item texts and item vectors of the index do not fit: run `rag-rec index rebuild`.")
        catalogue = Catalogue()
        for number, (item, tokens) in enumerate(zip(items, texts.tokens, strict=False)):
            catalogue.put(number, item, int(tokens))
        return cls(catalogue, index, InterestClusters.load(folder / CLUSTERS), embedder)

    def __len__(self) -> int:
        return len(self.catalogue)

    def vectors(self) -> Vectors:
        """Unit vectors of all items as the index stores them, float32 [n, d]."""
        return self._vectors.rows

    def rows(self) -> ItemRows:
        """The vectors by number, for code that refers to items."""
        return ItemRows(self)

    def clusters(self) -> npt.NDArray[np.int32]:
        """Interest cluster of each item, int32 [n]."""
        return self._clusters.rows

    def put(self, number: int, item: Item) -> None:
        """Insert the next item, or replace one."""
        vector = self._embedder.embed([item.text])
        tokens = int(self._embedder.count_tokens([item.text])[0])
        key = np.array([number], dtype=np.int64)
        self.index.put(key, vector)
        stored = self.index.vectors(key)
        self._vectors.put(number, stored)
        self._clusters.put(number, self._centroids.assign(stored))
        self.catalogue.put(number, item, tokens)


@dataclass(frozen=True, slots=True)
class ItemRows:
    """Looks up item vectors in the matrix; implements :class:`rag_rec.vectors.interactions.ItemVectors`."""

    space: ItemSpace

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.space.index.dimension

    def vectors(self, numbers: npt.NDArray[np.int64]) -> Vectors:
        """The vectors of items, float32 [n, d]."""
        return self.space.vectors()[numbers]


Scalar = TypeVar("Scalar", bound=np.generic)


class _Growing(Generic[Scalar]):
    """An array that takes rows at the end in amortised constant time; ``rows`` is always a consistent view."""

    def __init__(self, rows: npt.NDArray[Scalar]) -> None:
        self._buffer = rows
        self.rows = rows

    def put(self, number: int, row: npt.NDArray[Scalar]) -> None:
        if number >= len(self._buffer):
            capacity = max(64, number + 1, len(self._buffer) * 5 // 4)
            buffer = np.zeros((capacity, *self._buffer.shape[1:]), dtype=self._buffer.dtype)
            buffer[: len(self.rows)] = self.rows
            self._buffer = buffer
        self._buffer[number] = row[0]
        self.rows = self._buffer[: max(number + 1, len(self.rows))]
