"""Circuit breaker: a server that keeps failing is left alone for a while, so that answers do not wait for it in vain.

The pattern is Nygard's ("Release It!", 2nd edition 2018, chapter 5): *closed* lets every call through; *open* lets none
through; after a cool-down one call is let through on trial, and its outcome closes the circuit or opens it again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where the circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class Limits:
    """When a circuit opens, and for how long.

    Attributes:
        in_a_row: so many consecutive failures open it.
        share: more than this share of failures opens it,
        calls: if at least so many calls have ended
        window: within so many seconds.
        cool_down: seconds after which an open circuit lets one call through on trial.
    """

    in_a_row: int = 5
    share: float = 0.2
    calls: int = 10
    window: float = 10.0
    cool_down: float = 10.0


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call. The breaker is told how it ended, and ignores what began under an earlier state."""

    term: int
    trial: bool


class Breaker:
    """Decides which calls are made. It is not locked: one thread owns it."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = State.CLOSED
        self._limits = limits or Limits()
        self._clock = clock
        self._term = 0  # counts the changes of state
        self._opened_at = 0.0
        self._failures_in_a_row = 0
        self._recent: deque[tuple[float, bool]] = deque()  # when calls ended, and whether they failed
        self._recent_failures = 0

    @property
    def state(self) -> State:
        """Where the circuit stands."""
        return self._state

    def admit(self) -> Permit | None:
        """Leave to make a call; None while the circuit is open or somebody else's trial is under way.

        The outcome of an admitted call must be told by :meth:`succeeded`, :meth:`failed` or :meth:`abandoned`.
        """
        if self._state is State.OPEN and self._clock() - self._opened_at >= self._limits.cool_down:
            self._enter(State.TRIAL)
            return Permit(self._term, trial=True)
        return Permit(self._term, trial=False) if self._state is State.CLOSED else None

    def succeeded(self, permit: Permit) -> None:
        """The call was answered."""
        if permit.term != self._term:
            return
        if permit.trial:
            self._enter(State.CLOSED)
        self._failures_in_a_row = 0
        self._remember(failed=False)

    def failed(self, permit: Permit) -> None:
        """The server failed to answer the call."""
        if permit.term != self._term:
            return
        self._failures_in_a_row += 1
        self._remember(failed=True)
        if permit.trial or self._too_many():
            self._opened_at = self._clock()
            self._enter(State.OPEN)

    def abandoned(self, permit: Permit) -> None:
        """The call ended without saying anything about the server; if it was on trial, the next one is."""
        if permit.term == self._term and permit.trial:
            self._enter(State.OPEN)

    def _too_many(self) -> bool:
        limits, ended = self._limits, len(self._recent)
        many = ended >= limits.calls and self._recent_failures > limits.share * ended
        return many or self._failures_in_a_row >= limits.in_a_row

    def _remember(self, *, failed: bool) -> None:
        now = self._clock()
        self._recent.append((now, failed))
        self._recent_failures += failed
        while now - self._recent[0][0] > self._limits.window:
            self._recent_failures -= self._recent.popleft()[1]

    def _enter(self, state: State) -> None:
        self._state = state
        self._term += 1
        self._failures_in_a_row = self._recent_failures = 0
        self._recent.clear()
