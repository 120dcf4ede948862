from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from safetensors.numpy import save

from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.evidence import clusters as module
from rag_rec.evidence.clusters import InterestClusters
from tests.rag_rec.evidence.memories import unit_vectors


def planted(groups: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(groups), size)
    vectors = np.eye(groups, 16)[labels] + 0.05 * rng.standard_normal((groups * size, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def test_planted_interests_are_found() -> None:
    vectors, labels = planted(groups=4, size=40, seed=0)
    assigned = InterestClusters.fit(vectors, 4).assign(vectors)
    assert assigned.dtype == np.int32
    assert len({(a, b) for a, b in zip(assigned.tolist(), labels.tolist(), strict=True)}) == 4


def test_each_vector_belongs_to_the_nearest_centroid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    clusters = InterestClusters.fit(unit_vectors(90, seed=1), 6)
    new = unit_vectors(33, seed=2)
    expected = [int(np.argmax([float(vector @ centroid) for centroid in clusters.centroids])) for vector in new]
    assert clusters.assign(new).tolist() == expected


def test_of_equally_near_centroids_the_first_is_taken() -> None:
    centroids = np.eye(4, dtype=np.float32)[[2, 1, 1]]
    assert InterestClusters(centroids).assign(np.eye(4, dtype=np.float32)).tolist() == [0, 1, 0, 0]


def test_centroids_are_unit_vectors() -> None:
    clusters = InterestClusters.fit(unit_vectors(200, seed=3), 9)
    assert np.linalg.norm(clusters.centroids, axis=1) == pytest.approx(np.ones(9), abs=1e-5)


def test_the_same_vectors_and_seed_give_the_same_bytes() -> None:
    vectors = unit_vectors(2000, seed=4)
    before = vectors.copy()
    threads = faiss.omp_get_max_threads()
    first, again = (InterestClusters.fit(vectors, 5, seed=8).centroids.tobytes() for _ in range(2))
    assert first == again
    assert first != InterestClusters.fit(vectors, 5, seed=9).centroids.tobytes()
    assert np.array_equal(vectors, before)
    assert faiss.omp_get_max_threads() == threads


@pytest.mark.parametrize("items", [1, 2, 5])
def test_fewer_items_than_clusters_are_each_their_own(items: int) -> None:
    vectors = np.eye(8, dtype=np.float32)[:items]
    clusters = InterestClusters.fit(vectors, 24)
    assert len(clusters) == items
    assert sorted(clusters.assign(vectors).tolist()) == list(range(items))


def test_equal_items_are_harmless() -> None:
    vectors = np.repeat(np.eye(8, dtype=np.float32)[:2], 30, axis=0)
    assigned = InterestClusters.fit(vectors, 6).assign(vectors)
    assert len(set(assigned[:30].tolist())) == len(set(assigned[30:].tolist())) == 1
    assert assigned[0] != assigned[-1]


def test_without_items_everything_is_in_one_cluster() -> None:
    clusters = InterestClusters.fit(np.empty((0, 8), dtype=np.float32), 24)
    assert len(clusters) == 0
    assert clusters.assign(unit_vectors(3, seed=5)).tolist() == [0, 0, 0]


def test_they_come_back_as_they_were_saved(tmp_path: Path) -> None:
    for vectors in (unit_vectors(40, seed=6), np.empty((0, 8), dtype=np.float32)):
        saved = InterestClusters.fit(vectors, 4)
        saved.save(tmp_path / "clusters.safetensors")
        loaded = InterestClusters.load(tmp_path / "clusters.safetensors")
        assert loaded.centroids.tobytes() == saved.centroids.tobytes()
        assert loaded.centroids.shape == saved.centroids.shape


CENTROIDS = unit_vectors(4, seed=7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a tensor file",
        save({"centroids": CENTROIDS})[:-1],
        save({"other": CENTROIDS}),
        save({"centroids": CENTROIDS[0]}),
        save({"centroids": CENTROIDS.astype(np.float64)}),
        save({"centroids": CENTROIDS * np.float32(np.nan)}),
    ],
    ids=["empty", "foreign", "truncated", "other tensor", "one axis", "float64", "not finite"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clusters.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorruptIndex, match="index rebuild"):
        InterestClusters.load(path)


def test_unusable_input_is_refused() -> None:
    with pytest.raises(InvalidInput, match="finite"):
        InterestClusters.fit(np.full((3, 4), np.nan, dtype=np.float32), 2)
    with pytest.raises(InvalidInput, match="at least one"):
        InterestClusters.fit(unit_vectors(3, seed=8), 0)
    with pytest.raises(InvalidInput, match="length 8, not 5"):
        InterestClusters(CENTROIDS).assign(np.ones((2, 5), dtype=np.float32))
