"""Lanes: bounded groups of threads beside the event loop, so that slow work never blocks it.

Recommendations, changes and inspections have a lane each: a removal that takes a tenth of a second, or an export of a
long history, holds up no recommendation. A lane whose queue is full refuses at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from serving.errors import DeadlineExceeded, Overloaded

P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """Runs calls on its own threads; ``pending`` counts the calls that run or wait."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self.name = name
        self.pending = 0
        self.refused = 0
        self._limit = threads + waiting
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()

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
            Overloaded: too many calls wait already.
            DeadlineExceeded: the time was up first.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        work = self._submit(lambda: function(max(0.0, end - loop.time())))
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

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self.pending >= self._limit:
                self.refused += 1
                raise Overloaded("The service is at its limit; try again in a second.")
            self.pending += 1
        return self._executor.submit(copy_context().run, self._call, call)  # it knows who asks

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        finally:
            self._release()

    def _settle(self, work: Future[T]) -> None:
        # A call that was cancelled while it waited never reaches _call, which would have counted it off.
        if work.cancelled():
            self._release()

    def _release(self) -> None:
        with self._lock:
            self.pending -= 1
