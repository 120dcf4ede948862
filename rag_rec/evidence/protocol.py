"""The seam of evidence selection: which of a user's own interactions a prompt may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Memory:
    """What a strategy may look at: one user's own history, row by row in order of time, n rows.

    ``vectors`` float32 [n, d] unit vectors; ``weights`` float64 [n] in (0, 1], what the user thought of the item
    (from the rating); ``times`` int64 [n] milliseconds; ``tokens`` int32 [n] what a row costs in a prompt;
    ``clusters`` int32 [n] the item cluster (interest) of each row.
    """

    vectors: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]
    times: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int32]
    clusters: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.times)


class EvidenceStrategy(Protocol):
    """Chooses rows of a memory under a token budget. Deterministic: the same arguments give the same rows."""

    def select(self, memory: Memory, candidates: npt.NDArray[np.float32], budget: int) -> npt.NDArray[np.int64]:
        """Rows to show, ascending (oldest first), whose tokens sum to at most ``budget``.

        ``candidates`` float32 [c, d] are the unit vectors of the candidates; strategies that do not look at candidates
        ignore them. A row that alone exceeds the budget is never chosen.
        """
