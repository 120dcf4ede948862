"""An event loop on a thread of its own: asynchronous code that any thread, and any other event loop, can call."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")


class Closed(RuntimeError):
    """The event loop has been closed."""


class EventLoopThread:
    """Runs coroutines until it is closed."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Start a coroutine. Cancelling the result cancels the coroutine.

        Raises:
            Closed: the loop has been closed.
        """
        with self._lock:
            if self._closed:
                coroutine.close()
                raise Closed
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self, last: Coroutine[Any, Any, None] | None = None) -> None:
        """Run the ``last`` coroutine, cancel what still runs and end the thread. A second call does nothing."""
        if last is not None:
            with suppress(Closed):
                self.submit(last).result()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            cancelled = asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop)
        cancelled.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
