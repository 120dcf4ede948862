"""A user's interactions as one small array, and the rule that says which of them are positive.

The array is what statistics, evidence and indices read. It is sorted by (time, interaction), which is *the* order of a
user's history everywhere in the product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rag_rec.events.known import KNOWN, RATING
from rag_rec.events.rule import NEUTRAL, STARS, EventRule, Meaning

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
    """Which interactions count as liking an item, and which items a user has met.

    An event with a minimum counts if its value is at least that one. One that should have a value and has none counts
    like an event without a minimum: versions up to 0.1.0 stored every interaction without a value as a rating. An event
    without a rule, which only a store from before the rules can hold, is neutral. The collaborative statistics see
    positives only.
    """

    events: Mapping[str, EventRule] = field(default_factory=lambda: {**KNOWN, RATING: STARS})

    def mask(self, history: History, events: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Whether each row of ``history`` is positive; ``events[code]`` is the name of an event. Shape [n]."""
        threshold, value = self._thresholds(history, events), history["value"]
        return np.asarray((value >= threshold) | (np.isnan(value) & (threshold < np.inf)), dtype=np.bool_)

    def weights(self, history: History, events: Sequence[str]) -> npt.NDArray[np.float64]:
        """How much each row says in favour of its item, float64 [n] in [0, 1].

        An event that always counts weighs 1, one that never does 0. Where a value decides, the weight grows with it and
        reaches 1 a quarter above the minimum (on five stars with a minimum of four: at five).
        """
        threshold, value = self._thresholds(history, events), history["value"]
        with np.errstate(invalid="ignore", divide="ignore"):
            graded = np.clip(value / (1.25 * threshold), 0.05, 1.0)
        weights = np.where((threshold == -np.inf) | np.isnan(value), 1.0, np.nan_to_num(graded, nan=0.05))
        return np.where(threshold == np.inf, 0.0, weights)

    def met(self, history: History, events: Sequence[str]) -> npt.NDArray[np.int32]:
        """Numbers of the items that the user has met, ascending, int32 [m]: an impression alone does not count."""
        shown = [self._rule(name).means is Meaning.IMPRESSION for name in events]
        return np.unique(history["item"][~np.array(shown or [False])[history["event"]]])

    def _thresholds(self, history: History, events: Sequence[str]) -> npt.NDArray[np.float64]:
        limits = [_threshold(self._rule(name)) for name in events]
        return np.asarray(np.array(limits or [np.inf])[history["event"]], dtype=np.float64)

    def _rule(self, name: str) -> EventRule:
        return self.events.get(name, NEUTRAL)

    def positives(self, history: History, events: Sequence[str]) -> History:
        """The positive rows of ``history``, in order, each item kept once at its latest time."""
        liked = history[self.mask(history, events)]
        newest_first = liked["item"][::-1]
        _, first_seen = np.unique(newest_first, return_index=True)
        keep = np.sort(len(liked) - 1 - first_seen)
        return liked[keep]


def _threshold(rule: EventRule) -> float:
    """The least value that counts; infinite where none does."""
    if rule.means is not Meaning.POSITIVE:
        return np.inf
    return -np.inf if rule.minimum is None else rule.minimum
