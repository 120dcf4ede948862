"""Several servers of the same model: who is asked, who is left alone for a while, and who is asked instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from rag_rec.generators.breaker import Breaker, Permit, State
from rag_rec.generators.completions import Batch, Capability
from rag_rec.generators.exchange import in_time
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.vllm_adapters import Adapter, Adapters
from rag_rec.generators.vllm_server import Declined, Server

log = structlog.get_logger()

ELSEWHERE = frozenset({Reason.ABSENT, Reason.OVERLOADED, Reason.BROKEN})
"""After these another replica may still give the answer in time."""

RECONNECTED = frozenset({Reason.ABSENT, Reason.BROKEN, Reason.WRONG_MODEL})
"""After these it may be another server, or the same one started anew: what was known of it is asked again."""

LEAST_SECONDS = 0.01
"""With less time left nobody else is asked."""

STATUS_SECONDS = 10.0

FAIR_SECONDS = 0.1
"""A server that was given less time than this is not blamed for being late."""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What a replica says of itself; ``problem`` says what is wrong with it, if anything is.

    Attributes:
        url: its address.
        circuit: ``closed``, ``open`` (left alone after failures) or ``trial``.
        problem: why it cannot be used.
        model: the name under which it serves the model.
        longest: the longest prompt in tokens (``--max-model-len``).
        adapters: names of the adapters that are loaded.
        swaps_adapters: whether adapters can be loaded at run time.
        exact_labels: whether it has ``logprob_token_ids``; if not, labels outside the likeliest tokens are missing.
        most_labels: of how many tokens it gives log-probabilities.
        outdated: what its version lacks, though it can be used.
    """

    url: str
    circuit: str
    problem: str | None = None
    model: str | None = None
    longest: int | None = None
    adapters: frozenset[str] = frozenset()
    swaps_adapters: bool = False
    exact_labels: bool = False
    most_labels: int = 0
    outdated: str | None = None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What was learned of a server when it was first reached."""

    model: str
    capability: Capability


class Replica:
    """A server, its circuit breaker, and what was learned of it."""

    def __init__(self, server: Server, breaker: Breaker, model: str | None, adapters: Adapters) -> None:
        self.server = server
        self.breaker = breaker
        self.model = model
        self._seen: GeneratorFailure | None = None
        self._failed: GeneratorFailure | None = None
        self._wanted = model
        self._adapters = adapters
        self._learning: asyncio.Task[ServerFacts] | None = None

    async def ask(self, permit: Permit, batch: Batch, adapter: Adapter | None, limit: float) -> list[dict[int, float]]:
        """Log-probabilities for every prompt, before ``limit``. The breaker is told how it went."""
        with self._judged(permit, fair=limit - time.monotonic() >= FAIR_SECONDS):
            async with in_time(limit, f"{self.server.url} did not answer in time."):
                if permit.trial:
                    await self.server.healthy(limit)
                known = await self._known()
                name = known.model if adapter is None else adapter.name
                return await self.server.complete(name, batch, known.capability, limit)

    @property
    def problem(self) -> GeneratorFailure | None:
        """Why it cannot be asked, by the last look at it, and by what stopped its last calls while it is left alone."""
        return self._seen or (None if self.breaker.state is State.CLOSED else self._failed)

    async def look(self, seconds: float) -> None:
        """See whether the server is there and serves the model. Never raises."""
        try:
            async with in_time(time.monotonic() + seconds, f"{self.server.url} did not say in time what it serves."):
                await self.server.served(self._wanted)
        except GeneratorFailure as failure:
            self._seen = failure
        else:
            self._seen = None

    async def status(self) -> ReplicaStatus:
        """Ask the server about itself. Never raises."""
        circuit, url = self.breaker.state.value, self.server.url
        try:
            async with in_time(time.monotonic() + STATUS_SECONDS, f"{url} did not say in time how it is."):
                served = await self.server.served(self._wanted)
                capability = await self.server.capability(served.model)
                swaps = await self.server.swaps_adapters()
                outdated = await self.server.outdated()
        except GeneratorFailure as failure:
            return ReplicaStatus(url, circuit, problem=str(failure))
        return ReplicaStatus(
            url,
            circuit,
            None,
            served.model,
            served.longest,
            served.adapters,
            swaps,
            capability.exact,
            capability.most,
            outdated,
        )

    async def _known(self) -> ServerFacts:
        """Learn once; who cannot wait for it leaves it running for those who come after."""
        if self._learning is None or (self._learning.done() and self._adapters.lacks(self.server)):
            self._learning = asyncio.create_task(self._learn())
            self._learning.add_done_callback(self._learned)
        return await asyncio.shield(self._learning)

    async def _learn(self) -> ServerFacts:
        served = await self.server.served(self._wanted)
        await self._adapters.restore(self.server, served.adapters)
        capability = await self.server.capability(served.model)
        self.model = served.model
        if outdated := await self.server.outdated():
            log.warning("vllm_outdated", advice=outdated)
        return ServerFacts(served.model, capability)

    def _learned(self, task: asyncio.Task[ServerFacts]) -> None:
        """Try again at the next request if it failed, also where nobody waits for it any more."""
        if (task.cancelled() or task.exception()) and self._learning is task:
            self._learning = None

    @contextmanager
    def _judged(self, permit: Permit, *, fair: bool) -> Iterator[None]:
        """Tell the breaker how the call ended."""
        try:
            yield
        except GeneratorFailure as failure:
            self._failed = failure
            if failure.reason in RECONNECTED:
                self._learning = None
            if failure.reason is Reason.LATE and not fair:
                self.breaker.abandoned(permit)
            elif _has_answered(failure):
                self.breaker.succeeded(permit)
            else:
                self.breaker.failed(permit)
            raise
        except Exception:  # whatever the answer brought about, the server is no better than one that failed
            self.breaker.failed(permit)
            raise
        except BaseException:  # the request was given up
            self.breaker.abandoned(permit)
            raise
        self.breaker.succeeded(permit)


class Replicas:
    """Asks the replicas in turn, those left alone excepted, and after some failures one other replica, once."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.all = tuple(replicas)
        self._turn = 0

    async def ask(self, batch: Batch, adapter: Adapter | None, limit: float) -> list[dict[int, float]]:
        """Log-probabilities for every prompt, before ``limit`` (seconds of ``time.monotonic``).

        Raises:
            GeneratorFailure: no replica has answered.
        """
        self._turn += 1
        admitted = self._admitted(self.all)
        if admitted is None:
            raise GeneratorFailure(Reason.CIRCUIT_OPEN, "Every server has failed repeatedly and is left alone a while.")
        first, permit = admitted
        try:
            return await first.ask(permit, batch, adapter, limit)
        except GeneratorFailure as failure:
            if failure.reason not in ELSEWHERE or limit - time.monotonic() < LEAST_SECONDS:
                raise
            admitted = self._admitted([replica for replica in self.all if replica is not first])
            if admitted is None:
                raise
        other, permit = admitted
        return await other.ask(permit, batch, adapter, limit)

    def _admitted(self, replicas: Sequence[Replica]) -> tuple[Replica, Permit] | None:
        """The next replica that may be asked. Its permit has to be used."""
        for step in range(len(replicas)):
            replica = replicas[(self._turn + step) % len(replicas)]
            if permit := replica.breaker.admit():
                return replica, permit
        return None


def _has_answered(failure: GeneratorFailure) -> bool:
    """Whether the failure says nothing against the server: it declined the request."""
    return isinstance(failure, Declined) and failure.reason is not Reason.WRONG_MODEL
