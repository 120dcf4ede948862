"""Text vectors of attribute tokens: what the items that share a value have in common, or what the value says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag_rec.compact.vocabulary import SPECIALS, Vocabulary
from rag_rec.domain import Item
from rag_rec.vectors.protocol import Embedder, Vectors

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ItemAttributes:
    """Which item has which attribute token: pairs int64 [m] of item place and token, ordered by item."""

    items: Tokens
    tokens: Tokens

    @classmethod
    def of(cls, items: Sequence[Item], vocabulary: Vocabulary) -> ItemAttributes:
        """The pairs of a catalogue; places are those of the sequence."""
        found = [vocabulary.tokens_of_item_attributes(item) for item in items]
        counts = np.array([len(tokens) for tokens in found], dtype=np.int64)
        tokens = np.array([token for each in found for token in each], dtype=np.int64)
        return cls(np.repeat(np.arange(len(items)), counts), tokens)


def attribute_vectors(
    vocabulary: Vocabulary, attributes: ItemAttributes, vectors: Vectors, embedder: Embedder
) -> Vectors:
    """Text vectors of all attribute tokens, float32 [a, d].

    An item attribute's is the mean over the items that have it; a user attribute has no items, and takes the vector of
    its own text.

    Args:
        vocabulary: whose attribute tokens are asked for.
        attributes: which item has which.
        vectors: text vectors of the items, float32 [n, d].
        embedder: for the texts of user attributes.
    """
    shared = len(vocabulary.item_attributes)
    sums = np.zeros((shared, vectors.shape[1]))
    rows = attributes.tokens - len(SPECIALS)
    np.add.at(sums, rows, vectors[attributes.items])
    means = sums / np.bincount(rows, minlength=shared)[:, None].clip(1)
    texts = vocabulary.attribute_texts()[shared:]
    own = embedder.embed(texts) if texts else np.empty((0, vectors.shape[1]), dtype=np.float32)
    return np.concatenate([means.astype(np.float32), own])
