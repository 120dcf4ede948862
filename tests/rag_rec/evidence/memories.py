"""Memories to select evidence from: made of drawn rows, so that ties, repeats and odd costs occur, or random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from rag_rec.evidence import Memory

DIRECTIONS = np.random.default_rng(7).standard_normal((6, 8))
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)


@dataclass(frozen=True)
class Row:
    direction: int
    rating: int
    pause: int
    tokens: int
    cluster: int


rows = st.builds(
    Row,
    direction=st.integers(0, len(DIRECTIONS) - 1),
    rating=st.integers(1, 5),
    pause=st.integers(0, 2),
    tokens=st.integers(0, 12),
    cluster=st.integers(0, 3),
)


def memory_of(listed: Sequence[Row]) -> Memory:
    return Memory(
        vectors=DIRECTIONS[[row.direction for row in listed]].astype(np.float32).reshape(len(listed), 8),
        weights=np.array([row.rating / 5 for row in listed], dtype=np.float64),
        times=np.cumsum([row.pause for row in listed]).astype(np.int64),
        tokens=np.array([row.tokens for row in listed], dtype=np.int32),
        clusters=np.array([row.cluster for row in listed], dtype=np.int32),
    )


def random_memory(size: int, seed: int, dimension: int = 8) -> Memory:
    """A memory without ties."""
    rng = np.random.default_rng(seed)
    return Memory(
        vectors=unit_vectors(size, seed + 1, dimension),
        weights=rng.uniform(0.1, 1.0, size),
        times=np.arange(size, dtype=np.int64),
        tokens=rng.integers(1, 12, size, dtype=np.int32),
        clusters=rng.integers(0, 4, size, dtype=np.int32),
    )


def unit_vectors(size: int, seed: int, dimension: int = 8) -> npt.NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((size, dimension)) + 0.5
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


NO_CANDIDATES = np.empty((0, 8), dtype=np.float32)
