"""How sure one can be of a figure over users: percentile bootstrap intervals, the only ones in the project.

SciPy draws the resamples; this module fixes the level, the method and the number of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

LEVEL: Final = 0.95
RESAMPLES: Final = 1000
MOST_DRAWN: Final = 2_000_000
"""Values drawn at a time, so that memory stays small however many users there are."""

Values = npt.NDArray[np.floating]


def interval(values: Values, seed: int, level: float = LEVEL, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Bounds of the percentile bootstrap interval of the mean of ``values`` [n], one for each user.

    For the interval of a difference between two systems, give the differences of the same users (paired).

    Args:
        values: float [n], n at least 1.
        seed: of the resampling: the same values and seed give the same bounds.
        level: the share of intervals that are to cover the mean.
        resamples: how often n values are drawn with replacement.
    """
    return interval_of(np.mean, [values], seed, level, resamples)


def interval_of(  # noqa: PLR0913 - what is resampled, and how
    statistic: Callable[..., Any],
    samples: Sequence[Values],
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    *,
    paired: bool = False,
    centred: bool = False,
) -> tuple[float, float]:
    """Bounds of the percentile bootstrap interval of a statistic of one or more samples.

    Args:
        statistic: takes one array for each sample and ``axis``, the axis to reduce; broadcasts over the others.
        samples: float [n] each, n at least 1.
        seed: of the resampling.
        level: the share of intervals that are to cover the statistic.
        resamples: how often each sample is drawn from with replacement.
        paired: draw the same users from every sample; without it, from each apart.
        centred: move the bounds by the bias of the resampling. A sample in which users occur twice has fewer different
            ones, so that a share of the items that anybody is shown, or the evenness over items, is another on the
            mean, by more than it varies; and so is the greatest of several differences.
    """
    if min(map(len, samples)) < 2:  # SciPy refuses what has no spread
        value = float(statistic(*samples, axis=-1))
        return value, value
    from scipy import stats  # noqa: PLC0415 - takes a second, which every command would pay at its start

    found = stats.bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        batch=max(1, MOST_DRAWN // max(map(len, samples))),
        vectorized=True,
        paired=paired,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    bias = float(found.bootstrap_distribution.mean() - statistic(*samples, axis=-1)) if centred else 0.0
    return float(found.confidence_interval.low) - bias, float(found.confidence_interval.high) - bias
