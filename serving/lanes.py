"""Lanes: bounded groups of threads beside the event loop, so that slow work never blocks it.

Recommendations, changes and inspections have a lane each: a removal that takes a tenth of a second, or an export of a
long history, holds up no recommendation. A lane whose queue is full, or would take too long, refuses at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from time import perf_counter
from typing import Final, ParamSpec, TypeVar

from serving.errors import DeadlineExceeded, Overloaded

P = ParamSpec("P")
T = TypeVar("T")

RECENT: Final = 0.1
"""Weight of the newest call in the mean time of a call: the last ten or so count."""


class Lane:
    """Runs calls on its own threads; ``pending`` counts the calls that run or wait.

    Args:
        name: for metrics, and for the names of the threads.
        threads: how many calls run at once.
        waiting: how many calls may wait.
        patience: expected seconds of waiting beyond which a call is refused; None for any.
    """

    def __init__(self, name: str, threads: int, waiting: int, patience: float | None = None) -> None:
        self.name = name
        self.pending = 0
        self.refused = 0
        self._threads = threads
        self._limit = threads + waiting
        self._patience = patience
        self._seconds = 0.0
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()

    @property
    def expected_wait(self) -> float:
        """Seconds that one more call would wait for a thread, if calls take as long as the recent ones did."""
        return max(0, self.pending + 1 - self._threads) * self._seconds / self._threads

    @property
    def crowded(self) -> bool:
        """Whether one more call would be refused."""
        return self.pending >= self._limit or self._exceeds(self._patience)

    def refuse(self) -> Overloaded:
        """Count a call that is refused, and give the error for it."""
        self.refused += 1
        return Overloaded("The service is at its limit; try again after the seconds in Retry-After.")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` on a thread of the lane.

        Raises:
            Overloaded: too many calls wait already.
        """
        work = self._submit(lambda: function(*args, **kwargs))
        try:
            return await asyncio.wrap_future(work)
        finally:
            self._settle(work)

    async def run_within(self, seconds: float, function: Callable[[float], T]) -> T:
        """Run ``function(seconds left)`` on a thread of the lane and wait at most ``seconds`` for it.

        A call that still waits when its time is up never starts; one that runs already is left to end by itself.

        Raises:
            Overloaded: too many calls wait already, or the call would wait for longer than ``seconds``.
            DeadlineExceeded: the time was up first.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        work = self._submit(lambda: function(max(0.0, end - loop.time())), seconds)
        try:
            async with asyncio.timeout_at(end) as timeout:
                return await asyncio.wrap_future(work)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise DeadlineExceeded("The answer was not ready within deadline_ms; allow more time.") from None
        finally:
            self._settle(work)

    def close(self) -> None:
        """Wait for the calls under way, and end the threads."""
        self._executor.shutdown(wait=True)

    def _submit(self, call: Callable[[], T], seconds: float | None = None) -> Future[T]:
        with self._lock:
            if self.crowded or self._exceeds(seconds):
                raise self.refuse()
            self.pending += 1
        return self._executor.submit(copy_context().run, self._call, call)  # it knows who asks

    def _exceeds(self, seconds: float | None) -> bool:
        return seconds is not None and self.expected_wait > seconds

    def _call(self, call: Callable[[], T]) -> T:
        started = perf_counter()
        try:
            return call()
        finally:
            self._seconds += RECENT * (perf_counter() - started - self._seconds)
            self._release()

    def _settle(self, work: Future[T]) -> None:
        # A call that was cancelled while it waited never reaches _call, which would have counted it off.
        if work.cancelled():
            self._release()

    def _release(self) -> None:
        with self._lock:
            self.pending -= 1
