"""Looks now and then whether the LLM's servers are there and serve the model. No answer waits for it."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from rag_rec.generators.event_loop import Closed, EventLoopThread
from rag_rec.generators.failures import GeneratorFailure
from rag_rec.generators.replicas import Replica

LOOK_SECONDS: Final = 5.0
"""How long a server may take to say what it serves."""

BETWEEN_SECONDS: Final = 10.0
"""What was seen of the servers is believed for so long."""


class Watch:
    """What is known of some servers. Thread-safe in the sense that a look too many does no harm.

    Args:
        replicas: the servers.
        loop: where they are asked.
        clock: seconds that never go back.
    """

    def __init__(
        self, replicas: Sequence[Replica], loop: EventLoopThread, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._replicas = tuple(replicas)
        self._loop = loop
        self._clock = clock
        self._looking: concurrent.futures.Future[None] | None = None
        self._looked_at = 0.0

    def problem(self, wait: float = 0.0) -> GeneratorFailure | None:
        """Why no server can be asked, as far as is known; None as soon as one can.

        A look that is due is begun, and waited for at most ``wait`` seconds.
        """
        if self._is_due():
            self._looked_at = self._clock()
            with suppress(Closed):
                self._looking = self._loop.submit(self._look())
        if self._looking is not None and wait:
            concurrent.futures.wait([self._looking], wait)
        problems = [replica.problem for replica in self._replicas]
        return None if None in problems else problems[0]

    def _is_due(self) -> bool:
        if self._looking is None:
            return True
        return self._looking.done() and self._clock() - self._looked_at >= BETWEEN_SECONDS

    async def _look(self) -> None:
        for replica in self._replicas:
            await replica.look(LOOK_SECONDS)
