from __future__ import annotations

import numpy as np
import pytest

from rag_rec.vectors.profile import HALF_LIFE, profile_vector


def test_nothing_liked_gives_no_profile() -> None:
    assert profile_vector(np.empty((0, 4), dtype=np.float32)) is None
    assert profile_vector(np.array([[1, 0], [-1, 0]], dtype=np.float32)[[0, 0]] * 0) is None


def test_a_profile_is_the_recency_weighted_mean() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    slow = sum(0.5 ** ((29 - n) / HALF_LIFE) * vectors[n].astype(float) for n in range(30))
    profile = profile_vector(vectors)
    assert profile == pytest.approx(slow / np.linalg.norm(slow), rel=1e-6)
    assert profile is not None
    assert float(np.linalg.norm(profile)) == pytest.approx(1)


def test_the_newest_interaction_weighs_most() -> None:
    vectors = np.eye(2, dtype=np.float32)
    profile = profile_vector(vectors)
    assert profile is not None
    assert profile[1] > profile[0] > 0
