"""One vLLM server, as its OpenAI-compatible HTTP interface shows it (vLLM 0.32; vllm/entrypoints/openai)."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
from pydantic import Field

from rag_rec.generators.completions import Batch, Capability, most_bytes, read_answer, request_body
from rag_rec.generators.exchange import MOST_BYTES, Shape, bounded_client, content_of, in_time, read_shape
from rag_rec.generators.failures import GeneratorFailure, Reason

CONNECT_SECONDS = 4.0
"""A first packet that got lost is sent again after one and after three seconds (RFC 6298), on loopback as well."""
HEALTH_SECONDS = 1.0
MANAGEMENT_SECONDS = 60.0
PROBED = 8
LEAST_VERSION = (0, 29)
"""Of vLLM: the first with ``--max-num-queued-reqs``, by which a busy server refuses at once instead of queueing."""
DIGEST = re.compile("[0-9a-f]{32}")
MAX_LOGPROBS = (128, 64, 20, 5, 1)
"""Values of ``--max-logprobs`` that are tried on a server without ``logprob_token_ids``; 20 is its default."""


class Declined(GeneratorFailure):
    """The server is well, and does not accept this request (a status of 4xx)."""


@dataclass(frozen=True, slots=True)
class Served:
    """What ``GET /v1/models`` lists: the model, the longest prompt in tokens, and the names of the loaded adapters."""

    model: str
    longest: int | None
    adapters: frozenset[str]


class _Card(Shape):
    id: str = Field(max_length=1000)
    parent: str | None = None
    root: str | None = None
    max_model_len: int | None = None


class _Version(Shape):
    version: str = Field(max_length=100)


class _Listing(Shape):
    data: list[_Card]


class Server:
    """Asks one server, and turns whatever goes wrong into a :class:`GeneratorFailure`.

    ``base`` is the digest of the compact generator's base that has to be served, where that is what is wanted: another
    base under the same name would take the prompts, and mean other items by the same tokens.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, base: str | None = None) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._client = client
        self._base = base

    async def complete(
        self, model: str, batch: Batch, capability: Capability, limit: float | None = None
    ) -> list[dict[int, float]]:
        """For each prompt the log-probabilities of the next token that came back.

        ``limit`` (seconds of ``time.monotonic``) is when the whole answer has to be here.
        """
        most = most_bytes(batch, capability)
        body = request_body(model, batch, capability)
        content = await self._send("POST", "/v1/completions", body, limit=limit, most=most)
        return read_answer(content, len(batch.prompts))

    async def healthy(self, limit: float) -> None:
        """Fail unless ``GET /health`` is answered in a part of the time that is left."""
        now = time.monotonic()
        await self._send("GET", "/health", limit=now + max(0.0, min(HEALTH_SECONDS, (limit - now) / 4)))

    async def outdated(self) -> str | None:
        """What an old server lacks, where it says its version (``GET /version``); None where it lacks nothing."""
        try:
            content = await self._send("GET", "/version", limit=time.monotonic() + HEALTH_SECONDS)
            version = read_shape(_Version, content, f"{self.url} does not say its version.").version
        except GeneratorFailure:
            return None
        numbers = re.match(r"v?(\d+)\.(\d+)", version)
        if numbers is None or tuple(map(int, numbers.groups())) >= LEAST_VERSION:
            return None
        least = ".".join(map(str, LEAST_VERSION))
        return (
            f"{self.url} runs vLLM {numbers[0]}, older than {least}: it lacks --max-num-queued-reqs, so that requests "
            f"queue there without a bound instead of being refused. Upgrade it to {least} or newer."
        )

    async def served(self, model: str | None) -> Served:
        """What the server serves; ``model`` None takes the model that it lists first.

        Raises:
            GeneratorFailure: it does not serve ``model``, or cannot be asked.
        """
        content = await self._send("GET", "/v1/models")
        cards = read_shape(_Listing, content, f"{self.url} does not list its models.").data
        bases = {card.id: card for card in cards if card.parent is None}
        name = next(iter(bases), "") if model is None else model
        if name not in bases:
            raise GeneratorFailure(Reason.WRONG_MODEL, f"{self.url} does not serve the model {name!r}.")
        self._check_base(str(bases[name].root))
        loaded = frozenset(card.id for card in cards if card.parent is not None)
        return Served(name, bases[name].max_model_len, loaded)

    def _check_base(self, root: str) -> None:
        """Refuse another base, where the folder that the server was started with names one by its digest."""
        served = root.rstrip("/").rpartition("/")[2]
        if self._base is not None and DIGEST.fullmatch(served) and served != self._base:
            raise GeneratorFailure(
                Reason.WRONG_MODEL, f"{self.url} serves the base {served}, not {self._base}: start it with that one."
            )

    async def capability(self, model: str) -> Capability:
        """Find out how the server gives log-probabilities, by asking for those of tokens that nobody would generate."""
        probe = Batch(((0,),), tuple(range(PROBED)))
        candidates = [Capability(exact=True), *(Capability(exact=False, most=most) for most in MAX_LOGPROBS)]
        for candidate in candidates:
            found = await self._tried(model, probe, candidate)
            if found is not None and (set(probe.labels) <= set(found) or not candidate.exact):
                return candidate
        raise GeneratorFailure(Reason.REFUSED, f"{self.url} gives no log-probabilities. Is it a vLLM server?")

    async def _tried(self, model: str, probe: Batch, capability: Capability) -> dict[int, float] | None:
        """The answer; None where the server declines the request, because of how log-probabilities are asked for."""
        try:
            [found] = await self.complete(model, probe, capability)
        except Declined as failure:
            if failure.reason is Reason.WRONG_MODEL:
                raise
            return None
        return found

    async def load(self, name: str, folder: str) -> bool:
        """Load an adapter under a name; whether it was not loaded already."""
        try:
            await self._send("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})
        except Declined:
            if name in (await self.served(None)).adapters:
                return False
            raise
        return True

    async def unload(self, name: str) -> None:
        """Unload an adapter."""
        await self._send("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    async def swaps_adapters(self) -> bool:
        """Whether adapters can be loaded at run time; a request without a name is declined where they can."""
        try:
            await self._send("POST", "/v1/load_lora_adapter", {"lora_name": "", "lora_path": ""})
        except GeneratorFailure as failure:
            return isinstance(failure, Declined) and failure.reason is not Reason.WRONG_MODEL
        return True

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        limit: float | None = None,
        most: int = MOST_BYTES,
    ) -> bytes:
        """The answer's content: at most ``most`` bytes, all of them here at ``limit``."""
        until = time.monotonic() + MANAGEMENT_SECONDS if limit is None else limit
        request = self._client.build_request(method, self.url + path, json=body, timeout=_patient(until))
        async with in_time(until, f"{self.url} did not answer in time."), _mapped(self.url):
            response = await self._client.send(request, stream=True)
            try:
                _check(self.url, response)
                return await content_of(response, most)
            finally:
                await response.aclose()


def _patient(limit: float) -> httpx.Timeout:
    """A connection may take up to half of the time that is left, so that another server can still be asked."""
    return httpx.Timeout(None, connect=min(CONNECT_SECONDS, max(0.0, (limit - time.monotonic()) / 2)))


@asynccontextmanager
async def _mapped(url: str) -> AsyncIterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise GeneratorFailure(Reason.ABSENT, f"Nobody answers at {url}.") from None
    except httpx.TimeoutException:
        raise GeneratorFailure(Reason.LATE, f"{url} did not answer in time.") from None
    except httpx.HTTPError:
        raise GeneratorFailure(Reason.BROKEN, f"The connection to {url} broke off.") from None


def _check(url: str, response: httpx.Response) -> None:
    """Refuse an error. Its text is not repeated: it may quote the prompt."""
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        raise GeneratorFailure(Reason.OVERLOADED, f"{url} is too busy (status {status}).")
    if status == HTTPStatus.NOT_FOUND:
        raise Declined(Reason.WRONG_MODEL, f"{url} does not serve the model or adapter that was asked for.")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Declined(Reason.REFUSED, f"{url} does not accept the request (status {status}).")
    raise GeneratorFailure(Reason.REFUSED, f"{url} answered with status {status}.")


def client(connections: int, key: str | None) -> httpx.AsyncClient:
    """An HTTP client for servers of a private network. No connection is kept as long as vLLM keeps it (5 s)."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=3.0)
    return bounded_client(headers, limits=limits)


def names(urls: Sequence[str]) -> list[str]:
    """The addresses without repetition, in their order."""
    return list(dict.fromkeys(url.rstrip("/").removesuffix("/v1") for url in urls))
