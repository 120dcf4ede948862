"""How sure one can be of a mean over users: percentile bootstrap intervals."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

LEVEL: Final = 0.95
RESAMPLES: Final = 1000


def interval(
    values: npt.NDArray[np.floating], seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Bounds of the percentile bootstrap interval of the mean of ``values`` [n], one for each user.

    For the interval of a difference between two systems, give the differences of the same users (paired).

    Args:
        values: float [n], n at least 1.
        seed: of the resampling: the same values and seed give the same bounds.
        level: the share of intervals that are to cover the mean.
        resamples: how often n values are drawn with replacement.
    """
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    outside = 50.0 * (1.0 - level)
    low, high = np.percentile(means, [outside, 100.0 - outside])
    return float(low), float(high)
