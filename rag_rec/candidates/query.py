"""What is asked of the candidate model, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rag_rec.events.history import History


@dataclass(frozen=True, slots=True)
class Query:
    """One user's question.

    Attributes:
        positives: the user's positive history.
        seen: numbers of the items that must not be proposed, int [s].
        allowed: mask [n_items] of the items that may be proposed, or None for all. Items beyond its end may not.
        profile: the user's profile vector, float32 [d], for the search of neighbours.
        user: the user's number, so that they are not their own neighbour.
        reference_time: "now" in milliseconds, for recent popularity; None for the latest time in the statistics.
    """

    positives: History
    seen: npt.NDArray[np.integer]
    allowed: npt.NDArray[np.bool_] | None
    profile: npt.NDArray[np.float32] | None
    user: int | None
    reference_time: int | None


@dataclass(frozen=True, slots=True)
class CandidateList:
    """Candidates, best first.

    Attributes:
        items: item numbers, int32 [m].
        scores: log-probability of each among the candidates that the reranker compared, float64 [m].
        sources: for each item the one to three sources that speak most for it, strongest first.
        personal: whether the user's own history decided the order; if not, it is what is popular.
    """

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]
    sources: list[tuple[str, ...]]
    personal: bool = True

    def __len__(self) -> int:
        return len(self.items)

    def take(self, places: Sequence[int]) -> CandidateList:
        """The candidates at these places."""
        rows, sources = np.asarray(places, dtype=np.int64), [self.sources[at] for at in places]
        return replace(self, items=self.items[rows], scores=self.scores[rows], sources=sources)
