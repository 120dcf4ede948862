"""Asks an LLM that vLLM serves, on one machine or several, over its OpenAI-compatible interface.

The servers have to be on a private network: who reaches them can load adapters and sees what the LLM is asked.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rag_rec.generators.breaker import Breaker, Limits
from rag_rec.generators.completions import Batch, batches, in_order
from rag_rec.generators.event_loop import Closed, EventLoopThread
from rag_rec.generators.exchange import in_time
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import Encoded, Floats
from rag_rec.generators.replicas import Replica, Replicas, ReplicaStatus
from rag_rec.generators.vllm_adapters import Adapter, Adapters
from rag_rec.generators.vllm_server import Server, client, names
from rag_rec.generators.watch import Watch

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Manners:
    """How the servers are treated.

    Attributes:
        requests: so many are under way at once, to all servers together; the others wait.
        prompts: so many go into one request at most.
        patience: seconds that a request without a deadline may take, from when it is sent.
        breaker: when a server is left alone.
    """

    requests: int = 64
    prompts: int = 32
    patience: float = 300.0
    breaker: Limits = field(default_factory=Limits)


class VllmBackend:
    """Label log-probabilities from one or several vLLM servers. Servers may come and go; none is needed to begin with.

    Args:
        urls: addresses of the servers, with or without ``/v1`` at the end. They serve the same model.
        model: the name under which they serve it (``--served-model-name``); None takes what each lists first.
        key: bearer key of the servers (``--api-key``).
        base: digest of the compact generator's base that they have to serve, if it is that.
        adapter: folder of the adapter to begin with; it is loaded when a server is first reached.
        manners: how the servers are treated.
    """

    def __init__(  # noqa: PLR0913 - what there is to say of servers
        self,
        urls: Sequence[str],
        model: str | None = None,
        key: str | None = None,
        adapter: Path | None = None,
        manners: Manners | None = None,
        base: str | None = None,
    ) -> None:
        self._manners = manners or Manners()
        self._client = client(self._manners.requests, key)
        servers = [Server(url, self._client, base) for url in names(urls)]
        self._adapters = Adapters(servers, adapter)
        limits = self._manners.breaker
        self._replicas = Replicas([Replica(each, Breaker(limits), model, self._adapters) for each in servers])
        self._places = asyncio.Semaphore(self._manners.requests)
        self._loop = EventLoopThread("rag-rec-vllm")
        self._watch = Watch(self._replicas.all, self._loop)

    @property
    def model(self) -> str:
        """Name under which the model is served; ``unknown`` before a server was reached, if it was not given."""
        return next((replica.model for replica in self._replicas.all if replica.model), "unknown")

    @property
    def adapter(self) -> str | None:
        """Digest of the adapter that requests which start now use; None for the base model."""
        current = self._adapters.current
        return None if current is None else current.digest

    def label_log_probabilities(self, questions: Sequence[Encoded], deadline: float | None = None) -> list[Floats]:
        """See :meth:`rag_rec.generators.protocol.Backend.label_log_probabilities`. Not for coroutines: it blocks."""
        return self._wait(self._answers(questions, deadline))

    def use_adapter(self, folder: Path | None) -> None:
        """Answer with this adapter from now on; None answers with the base model. Waits for the requests under way.

        Args:
            folder: a PEFT adapter in a folder named by its digest, which every server reads under the same path.

        Raises:
            AdapterNotLoaded: a server that is there did not load it, or none is there; the adapter before it stays in
                use everywhere. A server that is away gets it when it comes back.
        """
        self._wait(self._adapters.use(folder))

    def problem(self, wait: float = 0.0) -> GeneratorFailure | None:
        """See :meth:`rag_rec.generators.protocol.Backend.problem`."""
        return self._watch.problem(wait)

    def status(self) -> list[ReplicaStatus]:
        """What each server says of itself, asked now."""
        return self._wait(self._status())

    def close(self) -> None:
        """Give up the requests under way and close the connections."""
        self._loop.close(self._client.aclose())

    def _wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        try:
            return self._loop.submit(coroutine).result()
        except (Closed, concurrent.futures.CancelledError):
            raise _closed() from None

    async def _answers(self, questions: Sequence[Encoded], deadline: float | None) -> list[Floats]:
        if deadline is not None and deadline <= time.monotonic():
            raise GeneratorFailure(Reason.LATE, "There was no time left to ask the LLM.")
        asked = batches(questions, self._manners.prompts)
        result = [np.full(len(question.labels), np.nan) for question in questions]
        with self._adapters.held() as adapter:
            answers = await _together([self._ask(batch, adapter, deadline) for batch, _ in asked])
        for (_, positions), answer in zip(asked, answers, strict=True):
            for position, found in zip(positions, answer, strict=True):
                result[position] = in_order(questions[position], found)
        return result

    async def _ask(self, batch: Batch, adapter: Adapter | None, deadline: float | None) -> list[dict[int, float]]:
        async with self._place(deadline):
            limit = time.monotonic() + self._manners.patience if deadline is None else deadline
            return await self._replicas.ask(batch, adapter, limit)

    @asynccontextmanager
    async def _place(self, deadline: float | None) -> AsyncIterator[None]:
        async with in_time(math.inf if deadline is None else deadline, "Too many requests to the LLM were under way."):
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    async def _status(self) -> list[ReplicaStatus]:
        return await _together([replica.status() for replica in self._replicas.all])


async def _together(coroutines: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run them side by side; if one fails, the others are given up."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _closed() -> GeneratorFailure:
    return GeneratorFailure(Reason.ABSENT, "The client of the LLM's servers has been closed.")
