"""Requests at a steady rate, whether or not the service keeps up: what many independent callers do.

The time of a request runs from the moment when it was due, so that a service that stands still for a second is charged
for all who had to wait meanwhile, and not for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import httpx
import numpy as np
import numpy.typing as npt

from benchmarks.load import Answer, Connection, Target

Call = Callable[[Connection], Awaitable[Answer]]


@dataclass(frozen=True)
class Stream:
    """Calls that are due ``per_s`` times a second, on at most ``connections`` connections at once.

    They are due at even intervals; with a ``seed``, each at a random instant of its own interval. Of two streams one
    needs it: else they meet in the same phase all the time, always or never at the worst moment.
    """

    calls: Sequence[Call]
    per_s: float
    connections: int
    seed: int | None = None

    def due(self) -> npt.NDArray[np.float64]:
        """When each call is due, in seconds from the beginning, ascending."""
        intervals = np.arange(len(self.calls), dtype=np.float64)
        if self.seed is not None:
            intervals += np.random.default_rng(self.seed).random(len(self.calls))
        return intervals / self.per_s


@dataclass(frozen=True)
class Paced:
    """What became of a stream: seconds of every call from when it was due, failures, and seconds until the last one."""

    seconds: npt.NDArray[np.float64]
    errors: int
    wall: float

    def percentile_ms(self, share: float) -> float:
        """A percentile of the times, in milliseconds."""
        return 1000 * float(np.percentile(self.seconds, share))


def plain(request: bytes) -> Call:
    """The call that sends one request."""
    return lambda connection: connection.send(request)


async def run_streams(target: Target, *streams: Stream) -> list[Paced]:
    """Run streams side by side. Each call that is not answered by a success counts as an error."""
    return list(await asyncio.gather(*(_run(target, stream) for stream in streams)))


async def _run(target: Target, stream: Stream) -> Paced:
    seconds, failed = np.zeros(len(stream.calls)), np.zeros(len(stream.calls), dtype=np.bool_)
    work = iter(enumerate(zip(stream.due().tolist(), stream.calls, strict=True)))
    opened = [await Connection.open(target) for _ in range(stream.connections)]
    started = perf_counter()

    async def serve(connection: Connection) -> None:
        for number, (after, call) in work:
            due = started + after
            await asyncio.sleep(max(0.0, due - perf_counter()))
            answer = await call(connection)
            seconds[number] = perf_counter() - due
            failed[number] = answer.status >= httpx.codes.MULTIPLE_CHOICES

    await asyncio.gather(*map(serve, opened))
    wall = perf_counter() - started
    for connection in opened:
        connection.close()
    return Paced(seconds, int(failed.sum()), wall)
