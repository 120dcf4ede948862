"""A small load generator: keep-alive connections that send prepared HTTP requests one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Self
from urllib.parse import urlsplit

import httpx
import numpy as np
import numpy.typing as npt
import orjson
import uvloop
from prometheus_client.parser import text_string_to_metric_families

PROCESSOR = "process_cpu_seconds_total"


@dataclass(frozen=True)
class Load:
    """Outcome of one run: seconds of every request, in the order of the requests, and of the whole run.

    ``processor`` is the processor time of the service in seconds; unlike the others it hardly depends on what else the
    machine does.
    """

    seconds: npt.NDArray[np.float64]
    wall: float
    processor: float

    @property
    def requests_per_s(self) -> float:
        """Throughput."""
        return len(self.seconds) / self.wall


@dataclass(frozen=True)
class Target:
    """A service and a key for it."""

    url: str
    key: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        if parts.hostname is None or parts.port is None:
            raise ValueError("The URL of the service needs a host and a port.")
        return parts.hostname, parts.port

    def metrics(self) -> dict[str, float]:
        """The metrics of the service that have no labels."""
        headers = {"Authorization": f"Bearer {self.key}"}
        text = httpx.get(f"{self.url}/metrics", headers=headers, timeout=60, trust_env=False).raise_for_status().text
        families = text_string_to_metric_families(text)
        return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

    def request(self, method: str, path: str, body: object = None) -> bytes:
        """A request in full, ready to send."""
        content = b"" if body is None else orjson.dumps(body)
        head = [f"{method} {path} HTTP/1.1", "Host: service", f"Authorization: Bearer {self.key}"]
        if content:
            head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join([*head, "", ""]).encode() + content


def run_load(target: Target, requests: Sequence[bytes], connections: int = 1) -> Load:
    """Send all requests over ``connections`` connections at once, each with one request under way at a time.

    Raises:
        RuntimeError: an answer was not a success.
    """
    before = target.metrics()[PROCESSOR]
    seconds, wall = uvloop.run(_run(target, requests, connections))
    return Load(seconds, wall, target.metrics()[PROCESSOR] - before)


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes


class Connection:
    """One keep-alive connection, with one request under way at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, target: Target) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(*target.address))

    async def send(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return Answer(int(head.split(b" ", 2)[1]), await self._reader.readexactly(length))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def _run(target: Target, requests: Sequence[bytes], connections: int) -> tuple[npt.NDArray[np.float64], float]:
    seconds = np.zeros(len(requests))
    work = iter(enumerate(requests))
    opened = [await Connection.open(target) for _ in range(connections)]
    started = perf_counter()
    await asyncio.gather(*(_send(connection, work, seconds) for connection in opened))
    wall = perf_counter() - started
    for connection in opened:
        connection.close()
    return seconds, wall


async def _send(connection: Connection, work: Iterator[tuple[int, bytes]], seconds: npt.NDArray[np.float64]) -> None:
    for number, request in work:
        started = perf_counter()
        answer = await connection.send(request)
        seconds[number] = perf_counter() - started
        if answer.status >= httpx.codes.MULTIPLE_CHOICES:
            raise RuntimeError(f"The service answered {answer.status}; see its log.")
