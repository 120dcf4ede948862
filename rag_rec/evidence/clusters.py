"""Interest clusters: groups of items that are about the same thing. Made from item vectors only, never from people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save
from threadpoolctl import threadpool_limits

from rag_rec.artifacts.private import write_durably
from rag_rec.errors import CorruptIndex, InvalidInput

Vectors = npt.NDArray[np.float32]

ITERATIONS = 25
POINTS_PER_CLUSTER = 256
"""Rows per cluster that training looks at (a seeded sample beyond); more hardly moves the centroids."""
BLOCK = 16_384
"""Rows assigned at a time, which bounds memory."""
CENTROIDS = "centroids"


@dataclass(frozen=True, slots=True)
class InterestClusters:
    """Centroids of spherical k-means over item vectors; ``centroids`` float32 [k, d] unit vectors."""

    centroids: Vectors

    def __len__(self) -> int:
        return len(self.centroids)

    @classmethod
    def fit(cls, vectors: Vectors, clusters: int, seed: int = 0) -> InterestClusters:
        """Cluster item vectors [n, d]; the same vectors and seed give the same bytes.

        Spherical k-means (FAISS, one thread, fixed seed). Fewer items than ``clusters`` give as many clusters as items,
        no items give none. CRAGRU instead clusters genre *words* after projecting them to two dimensions.
        """
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise InvalidInput("Item vectors have to be a matrix of finite numbers.")
        if clusters < 1:
            raise InvalidInput("There has to be at least one interest cluster.")
        size = min(clusters, len(vectors))
        if size == 0:
            return cls(np.empty((0, vectors.shape[1]), dtype=np.float32))
        return cls(_spherical_kmeans(np.ascontiguousarray(vectors, dtype=np.float32), size, seed))

    def assign(self, vectors: Vectors) -> npt.NDArray[np.int32]:
        """The cluster with the nearest centroid (lowest number on ties) for each vector [n, d]: int32 [n].

        A new item needs nothing else to belong somewhere. Without any centroid everything is in cluster 0.
        """
        assigned = np.zeros(len(vectors), dtype=np.int32)
        if not len(self.centroids) or not len(vectors):
            return assigned
        if vectors.shape[1] != self.centroids.shape[1]:
            raise InvalidInput(
                f"The clusters are for vectors of length {self.centroids.shape[1]}, not {vectors.shape[1]}: "
                "run `rag-rec index rebuild`."
            )
        for start in range(0, len(vectors), BLOCK):
            assigned[start : start + BLOCK] = np.argmax(vectors[start : start + BLOCK] @ self.centroids.T, axis=1)
        return assigned

    def save(self, path: Path) -> None:
        """Write the centroids as safetensors."""
        write_durably(path, save({CENTROIDS: self.centroids}))

    @classmethod
    def load(cls, path: Path) -> InterestClusters:
        """Read them back. Raises ``CorruptIndex`` for a file that is truncated, foreign or inconsistent."""
        try:
            centroids = load(path.read_bytes())[CENTROIDS]
        except (OSError, SafetensorError, KeyError, ValueError):
            raise CorruptIndex(_damaged(path)) from None
        if centroids.ndim != 2 or centroids.dtype != np.float32 or not np.isfinite(centroids).all():
            raise CorruptIndex(_damaged(path))
        return cls(centroids)


def _spherical_kmeans(vectors: Vectors, clusters: int, seed: int) -> Vectors:
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        clusters,
        niter=ITERATIONS,
        spherical=True,
        seed=seed & 0x7FFFFFFF,
        min_points_per_centroid=1,
        max_points_per_centroid=POINTS_PER_CLUSTER,
    )
    with _one_thread():
        kmeans.train(vectors)
    centroids = np.asarray(kmeans.centroids, dtype=np.float32)
    norms = np.linalg.norm(centroids, axis=1, keepdims=True)
    return np.asarray(centroids / np.where(norms > 0, norms, 1), dtype=np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run FAISS and the linear algebra under it on one thread: sums in a fixed order are the same bytes every time."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        faiss.omp_set_num_threads(threads)


def _damaged(path: Path) -> str:
    return f"The interest clusters in {path.name} are damaged: run `rag-rec index rebuild`."
