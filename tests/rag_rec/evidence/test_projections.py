from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.evidence import Projections

TENSOR = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)


def test_they_come_back_as_they_were_saved(tmp_path: Path) -> None:
    saved = Projections(TENSOR, TENSOR[::-1].copy())
    saved.save(tmp_path / "projections.safetensors")
    loaded = Projections.load(tmp_path / "projections.safetensors")
    assert np.array_equal(loaded.query, saved.query)
    assert np.array_equal(loaded.key, saved.key)
    assert loaded.dimension == 5


def test_scores_are_scaled_dot_products_of_projected_vectors() -> None:
    projections = Projections(TENSOR, TENSOR[::-1].copy())
    rng = np.random.default_rng(1)
    queries, keys = rng.standard_normal((4, 5)).astype(np.float32), rng.standard_normal((6, 5)).astype(np.float32)
    scores = projections.scores(queries, keys)
    assert scores.shape == (2, 4, 6)
    for head, query, key in [(0, 1, 2), (1, 3, 5)]:
        left, right = queries[query] @ TENSOR[head], keys[key] @ TENSOR[::-1][head]
        assert scores[head, query, key] == pytest.approx(float(left @ right) / 3**0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("query", "key"),
    [
        (TENSOR, TENSOR[:1]),
        (TENSOR[0], TENSOR[0]),
        (TENSOR[:0], TENSOR[:0]),
        (TENSOR.astype(np.float64), TENSOR.astype(np.float64)),
        (TENSOR, np.full_like(TENSOR, np.nan)),
    ],
    ids=["shapes differ", "no heads axis", "empty", "float64", "not finite"],
)
def test_unusable_tensors_are_refused(query: np.ndarray, key: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        Projections(query, key)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a tensor file", save({"query": TENSOR}), save({"query": TENSOR, "key": TENSOR})[:-4]],
    ids=["empty", "foreign", "half", "truncated"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "projections.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorruptIndex, match="fit them again"):
        Projections.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptIndex):
        Projections.load(tmp_path / "absent")
