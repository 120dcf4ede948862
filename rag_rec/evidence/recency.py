"""How much an interaction counts by its age."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HALF_LIFE = 50.0
"""After how many later interactions an interaction counts half.

Age is counted in interactions, not in days: one user rates a hundred films in an evening and another buys two books a
year, and for both the last few say most. It needs no clock, so the same history gives the same evidence at any time.
"""


def recency(times: npt.NDArray[np.int64], half_life: float = HALF_LIFE) -> npt.NDArray[np.float64]:
    """Weight in (0, 1] of each interaction, 1 for the newest; interactions of the same moment are equally old.

    Args:
        times: int64 [n], ascending.
        half_life: number of later interactions after which the weight has halved.

    Returns:
        float64 [n].
    """
    age = len(times) - np.searchsorted(times, times, side="right")
    return np.asarray(np.exp2(-age / half_life), dtype=np.float64)
