"""A user's profile vector: what the user likes, as one point among the item texts.

A pure function of the user's positive history and its vectors, so that a profile kept up to date by events, one
rebuilt after a partial forget, and one of a user who only ever had the rest are the same bytes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HALF_LIFE = 20.0
"""After how many later interactions the weight of an interaction has halved."""


def profile_vector(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """Recency-weighted mean of the vectors of a user's positive interactions, as a unit vector.

    Args:
        vectors: float32 [n, d], oldest first.

    Returns:
        float32 [d], or None where there is nothing to average.
    """
    if not len(vectors):
        return None
    age = np.arange(len(vectors) - 1, -1, -1, dtype=np.float64)
    weights = 0.5 ** (age / HALF_LIFE)
    mean = (weights[:, None] * vectors.astype(np.float64)).sum(axis=0)
    norm = float(np.linalg.norm(mean))
    return (mean / norm).astype(np.float32) if norm > 0 else None
