"""A user's interactions as one small array, and the rule that says which of them are positive.

The array is what statistics, evidence and indices read. It is sorted by (time, interaction), which is *the* order of a
user's history everywhere in the product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

HISTORY_DTYPE = np.dtype(
    [
        ("interaction", "<i8"),  # the interaction's number
        ("item", "<i4"),  # the item's number, which is also its column
        ("event", "<i2"),  # code of the event type, see Store.events()
        ("value", "<f4"),  # NaN where the event carries none
        ("time", "<i8"),  # milliseconds since 1970 UTC
        ("own_text", "?"),  # whether the interaction has a text of its own
    ]
)

History = npt.NDArray[np.void]
"""Structured array of :data:`HISTORY_DTYPE`, shape [n], sorted by (time, interaction)."""


def empty_history() -> History:
    """A history with no interaction in it."""
    return np.empty(0, dtype=HISTORY_DTYPE)


def overwrite(history: History) -> None:
    """Leave nothing of a removed history in memory, even where the array is not freed at once."""
    history[...] = np.zeros((), dtype=HISTORY_DTYPE)


@dataclass(frozen=True)
class PositiveRule:
    """Which interactions count as liking an item.

    An event named in ``minimum`` counts if its value is at least the stated one; an event named in ``ignored`` never
    counts; every other event counts. The collaborative statistics see positives only; "already seen" is every
    interaction.
    """

    minimum: Mapping[str, float] = field(default_factory=lambda: {"rating": 4.0})
    ignored: frozenset[str] = frozenset({"dislike", "skip"})

    def mask(self, history: History, events: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Whether each row of ``history`` is positive; ``events[code]`` is the name of an event. Shape [n]."""
        threshold = self._thresholds(history, events)
        return np.asarray((threshold == -np.inf) | (history["value"] >= threshold), dtype=np.bool_)

    def weights(self, history: History, events: Sequence[str]) -> npt.NDArray[np.float64]:
        """How much each row says in favour of its item, float64 [n] in [0, 1].

        An event that always counts weighs 1, an ignored one 0. Where a value decides, the weight grows with it and
        reaches 1 a quarter above the minimum (on five stars with a minimum of four: at five).
        """
        threshold = self._thresholds(history, events)
        with np.errstate(invalid="ignore", divide="ignore"):
            graded = np.clip(history["value"] / (1.25 * threshold), 0.05, 1.0)
        weights = np.where(threshold == -np.inf, 1.0, np.nan_to_num(graded, nan=0.05))
        return np.where(threshold == np.inf, 0.0, weights)

    def _thresholds(self, history: History, events: Sequence[str]) -> npt.NDArray[np.float64]:
        limits = [np.inf if name in self.ignored else self.minimum.get(name, -np.inf) for name in events]
        return np.asarray(np.array(limits or [np.inf])[history["event"]], dtype=np.float64)

    def positives(self, history: History, events: Sequence[str]) -> History:
        """The positive rows of ``history``, in order, each item kept once at its latest time."""
        liked = history[self.mask(history, events)]
        newest_first = liked["item"][::-1]
        _, first_seen = np.unique(newest_first, return_index=True)
        keep = np.sort(len(liked) - 1 - first_seen)
        return liked[keep]
