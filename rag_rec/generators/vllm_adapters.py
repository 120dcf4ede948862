"""Which LoRA adapter answers, and how another one takes its place while requests are under way.

An adapter's folder is named by the digest of its weights, and so is the adapter on the server. The new one is loaded
everywhere, requests that start from then on use it, those under way end with the old one, and then that is unloaded.
A name never stands for other weights: vLLM's prefix cache tells adapters apart by name and path (vLLM issue 42125).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.vllm_server import Server

PREFIX = "rag-rec-"

AWAY = frozenset({Reason.ABSENT, Reason.BROKEN, Reason.LATE, Reason.OVERLOADED})
"""After these a server may come back by itself; then it is given the adapter that is in use."""

log = structlog.get_logger()


class AdapterNotLoaded(GeneratorFailure):
    """A server did not load an adapter, for a reason that has to do with the adapter unless it names another."""

    code = "adapter_not_loaded"

    @classmethod
    def on(cls, server: Server, why: GeneratorFailure) -> AdapterNotLoaded:
        """For this reason, on this server."""
        reason = Reason.WRONG_MODEL if why.reason is Reason.REFUSED else why.reason
        return cls(
            reason,
            f"{server.url} did not load the adapter ({why.reason}). It has to be reachable, to be started with "
            "--enable-lora, a sufficient --max-lora-rank and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and to be able to "
            "read the adapter's folder under the same path as this process.",
        )


class Adapter:
    """An adapter by the digest that names its folder, and how many requests are under way with it."""

    def __init__(self, folder: Path) -> None:
        self.digest = folder.name
        self.folder = str(folder.resolve())
        self._requests = 0
        self._idle = asyncio.Event()

    @property
    def name(self) -> str:
        """Its name on the servers."""
        return PREFIX + self.digest

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Count a request that uses it."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until no request uses it."""
        while self._requests:
            self._idle.clear()
            await self._idle.wait()


class Adapters:
    """The adapter in use, on every server."""

    def __init__(self, servers: Sequence[Server], folder: Path | None) -> None:
        self._servers = tuple(servers)
        self._current = None if folder is None else Adapter(folder)
        self._swapping = asyncio.Lock()
        self._lacking: frozenset[Server] = frozenset()  # servers that were away when the adapter in use was loaded

    @property
    def current(self) -> Adapter | None:
        """What requests that start now use; None for the base model."""
        return self._current

    def lacks(self, server: Server) -> bool:
        """Whether the adapter in use has still to be restored on a server."""
        return server in self._lacking

    @contextmanager
    def held(self) -> Iterator[Adapter | None]:
        """The adapter in use, not unloaded before this ends."""
        adapter = self._current
        if adapter is None:
            yield None
            return
        with adapter.in_use():
            yield adapter

    async def use(self, folder: Path | None) -> None:
        """Load, switch over, wait for the requests under way, unload what was used before.

        A server that is away holds up nothing as long as another one has loaded the adapter.

        Raises:
            AdapterNotLoaded: a server that is there did not load it, or none is there; nothing has changed.
        """
        async with self._swapping:
            new = None if folder is None else Adapter(folder)
            old = self._current
            if new is not None:
                await self._load(new)
            if new and old and new.name == old.name:
                return
            self._current = new
            if old is not None:
                await old.idle()
                await _unload(old, self._servers)

    async def restore(self, server: Server, loaded: Set[str]) -> None:
        """Load the adapter in use on a server that was started anew.

        Raises:
            AdapterNotLoaded: the server does not load it, or cannot be asked.
        """
        wanted = self._current
        if wanted is None:
            self._lacking -= {server}
            return
        if wanted.name not in loaded:
            try:
                await server.load(wanted.name, wanted.folder)
            except GeneratorFailure as failure:
                raise AdapterNotLoaded.on(server, failure) from failure
        if self._current is wanted:
            self._lacking -= {server}
        elif wanted.name not in loaded:
            await _unload(wanted, [server])

    async def _load(self, adapter: Adapter) -> None:
        outcomes = await asyncio.gather(
            *(server.load(adapter.name, adapter.folder) for server in self._servers), return_exceptions=True
        )
        failures = [
            (server, outcome)
            for server, outcome in zip(self._servers, outcomes, strict=True)
            if isinstance(outcome, BaseException)
        ]
        if not failures or (len(failures) < len(outcomes) and all(_is_away(outcome) for _, outcome in failures)):
            for absent, _ in failures:
                log.warning("adapter_not_loaded", url=absent.url, adapter=adapter.digest)
            self._lacking = frozenset(absent for absent, _ in failures)
            return
        await _unload(adapter, [server for server, new in zip(self._servers, outcomes, strict=True) if new is True])
        server, why = next((each for each in failures if not _is_away(each[1])), failures[0])
        if not isinstance(why, GeneratorFailure):
            raise why
        raise AdapterNotLoaded.on(server, why) from why


def _is_away(why: BaseException) -> bool:
    return isinstance(why, GeneratorFailure) and why.reason in AWAY


async def _unload(adapter: Adapter, servers: Sequence[Server]) -> None:
    """Unload wherever it is loaded. One left on a server only takes up a place there until the server needs it."""
    for server in servers:
        with suppress(GeneratorFailure):
            await server.unload(adapter.name)
            log.info("adapter_unloaded", url=server.url, adapter=adapter.digest)
