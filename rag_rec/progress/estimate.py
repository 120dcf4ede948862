"""How fast a stage goes, and how long it will still take, by what it did lately."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 60.0
"""The rate is that of so long a time, so that a stage that becomes slower is seen to."""

APART_SECONDS: Final = 1.0
"""Two samples are at least so far apart."""

RESUMED_SECONDS: Final = 0.2
"""What a stage says to have done so soon after its beginning was done in an earlier run, and is not counted as fast."""


class Estimate:
    """Of one stage.

    Args:
        total: steps; 0 where their number is not known.
        now: seconds of a clock that never goes back.
    """

    def __init__(self, total: int, now: float) -> None:
        self.total = total
        self.done = 0
        self.started = now
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])

    def advance(self, steps: int, now: float) -> None:
        """Some steps are done."""
        self.done += steps
        if now - self.started < RESUMED_SECONDS:
            self._samples[0] = (now, self.done)
        elif now - self._samples[-1][0] >= APART_SECONDS:
            self._samples.append((now, self.done))
            while now - self._samples[1][0] > WINDOW_SECONDS:
                self._samples.popleft()

    def rate(self, now: float) -> float | None:
        """Steps a second; None before there is anything to tell by."""
        since, done = self._samples[0]
        return (self.done - done) / (now - since) if now > since and self.done > done else None

    def rest(self, now: float) -> float | None:
        """Seconds that the stage will still take; None where that cannot be told."""
        rate = self.rate(now)
        return max(0, self.total - self.done) / rate if rate and self.total else None
