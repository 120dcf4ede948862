"""An embedder for tests: quick, deterministic, and a pure function of each text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class HashEmbedder:
    """Unit vectors drawn from a generator seeded by the text; texts that share words lie close to each other."""

    dimension = 32
    digest = "hash-embedder-32"

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = np.array([sum(map(_word_vector, text.lower().split()), np.zeros(32)) for text in texts])
        vectors = vectors.reshape(len(texts), self.dimension)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)

    def count_tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        return np.array([len(text.split()) for text in texts], dtype=np.int32)


def _word_vector(word: str) -> npt.NDArray[np.float64]:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
    return np.random.default_rng(seed).normal(size=32)
