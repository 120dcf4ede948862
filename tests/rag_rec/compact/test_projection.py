from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rag_rec.compact.projection import FILE, TextProjection
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.vectors.protocol import Vectors


def unit(count: int, dimension: int = 24, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_rows_are_the_leading_principal_components_at_unit_length() -> None:
    """Against the singular value decomposition, whose signs are free."""
    vectors = unit(200)
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    _, _, right = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ right[:8].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    rows = TextProjection.of(vectors, 8).rows(vectors)
    signs = np.sign((rows * expected).sum(axis=0))
    assert np.allclose(rows, expected * signs, atol=1e-6)


def test_the_scale_is_the_length_of_every_row() -> None:
    rows = TextProjection.of(unit(50), 8, scale=0.5).rows(unit(50))
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 0.5, atol=1e-6)


def test_equal_vectors_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        TextProjection.of(unit(50), 8).save(tmp_path / name)
    first, second = ((tmp_path / name / FILE).read_bytes() for name in ("a", "b"))
    assert first == second


def test_a_new_text_has_the_same_row_after_the_disk(tmp_path: Path) -> None:
    projection = TextProjection.of(unit(50), 8, scale=2.0)
    projection.save(tmp_path)
    fresh = unit(3, seed=1)
    loaded = TextProjection.load(tmp_path)
    assert np.array_equal(loaded.rows(fresh), projection.rows(fresh))
    assert np.allclose(loaded.rows(fresh[1:2]), projection.rows(fresh)[1:2], atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_texts_are_filled_up_to_the_width(count: int) -> None:
    projection = TextProjection.of(unit(count), 8)
    assert np.allclose(projection.components.T @ projection.components, np.eye(8), atol=1e-9)
    again = TextProjection.of(unit(count), 8)
    assert np.array_equal(projection.components, again.components)
    strangers = projection.rows(unit(4, seed=2))
    assert np.allclose(np.linalg.norm(strangers, axis=1), 1.0, atol=1e-6)
    assert np.abs(strangers @ strangers.T - np.eye(4)).max() < 0.999


def test_a_width_beyond_the_vectors_is_padded_with_zeros() -> None:
    rows = TextProjection.of(unit(50, dimension=6), 8).rows(unit(50, dimension=6))
    assert rows.shape == (50, 8)
    assert not rows[:, 6:].any()


def test_equal_texts_get_equal_finite_rows() -> None:
    same = np.repeat(unit(1), 10, axis=0)
    rows = TextProjection.of(same, 8).rows(same)
    assert np.isfinite(rows).all()
    assert (rows == rows[0]).all()


def test_without_items_it_says_what_to_do() -> None:
    with pytest.raises(InvalidInput, match="ingest"):
        TextProjection.of(np.empty((0, 24), dtype=np.float32), 8)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    TextProjection.of(unit(50), 8).save(tmp_path)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorruptIndex):
        TextProjection.load(tmp_path)
