"""Runs the service: binds, loads, serves, and stops without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from rag_rec.errors import InvalidInput, RagRecError
from serving.app import ROUTERS, create_app
from serving.http_connection import ServiceProtocol
from serving.overload import Gate
from serving.reading import BUFFER_BYTES, CleanReading
from serving.service import Service

if TYPE_CHECKING:  # it brings the numerical libraries, which --help does not need
    from rag_rec.engine.engine import Engine

SWITCH_SECONDS = 0.0001
"""Threads hand the interpreter over after this time at the latest.

Every array operation of an answer gives the interpreter away and waits for it again. An answer has hundreds of them,
and each waits this long while another thread computes.
"""


SWEEP_SECONDS = 0.5
"""How often connections are looked for whose callers take too long."""

HANDOVER_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a URL."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


def bind(host: str, port: int, backlog: int = 1024) -> socket.socket:
    """A listening socket; port 0 takes any free port.

    Raises:
        InvalidInput: the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unusable(host, port, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise _unusable(host, port, error) from None
    return listener


def _unusable(host: str, port: int, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"Cannot listen on {host}:{port} ({error.strerror}); choose others with --host and --port, or "
        "with RAGREC_HOST and RAGREC_PORT."
    )


def address_of(listener: socket.socket) -> Address:
    """Where a socket listens."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)


class Server(uvicorn.Server):
    """A server that loads the engine while it is alive already, and ends in order on SIGINT and SIGTERM."""

    def __init__(self, service: Service, open_engine: Callable[[], Engine], *, early: bool = True) -> None:
        super().__init__(_config(service))
        self.failure: Exception | None = None
        self._service = service
        self._open_engine = open_engine
        self._early = early

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop, or until the engine turns out not to open.

        One that is not ``early`` takes connections only when it can answer.
        """
        loading, sweeping = asyncio.create_task(self._load()), asyncio.create_task(self._sweep())
        try:
            if not self._early:
                await loading
            if self.failure is None:
                await super().serve(sockets)
        finally:
            sweeping.cancel()
        await loading

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hand the callers over to others, where there are some; then stop as the base does."""
        await self._hand_over(self._service.limits.handover_seconds)
        await super().shutdown(sockets)

    async def _hand_over(self, seconds: float) -> None:
        """Take no new connections, and ask the callers of the others to connect anew.

        A connection that is closed while its next request is on the way would cost that request.
        """
        self._service.leaving = True
        for server in self.servers:
            server.close()
        until = asyncio.get_running_loop().time() + seconds
        while self.server_state.connections and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(HANDOVER_LOOK_SECONDS)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._service.connections.sweep()

    async def _load(self) -> None:
        try:
            await asyncio.to_thread(self._service.load, self._open_engine)
        except Exception as error:  # raised again by serve() once the server has stopped
            self.failure = error
            self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal; unlike the base, do not raise it again afterwards: a stop by request is a success."""
        signals = (signal.SIGINT, signal.SIGTERM)
        try:
            previous = {number: signal.signal(number, self._on_signal) for number in signals}
        except ValueError:  # not the main thread: whoever started the thread sets should_exit
            yield
            return
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.should_exit = True


def _config(service: Service) -> uvicorn.Config:
    protocol = partial(ServiceProtocol, service.connections, service.limits)
    return uvicorn.Config(
        Gate(create_app(service), service, [route for router in ROUTERS for route in router.routes]),
        http=partial(CleanReading, bytearray(BUFFER_BYTES), protocol),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=service.limits.backlog,
        timeout_keep_alive=service.limits.idle_seconds,
        timeout_graceful_shutdown=service.limits.drain_seconds,
    )


def serve(
    service: Service, listeners: Sequence[socket.socket], open_engine: Callable[[], Engine], *, early: bool = True
) -> None:
    """Serve on sockets until SIGINT or SIGTERM; requests under way are finished first.

    Args:
        service: what answers.
        listeners: bound already; they are closed at the end.
        open_engine: loads what it answers from.
        early: whether connections are taken before the engine is loaded.

    Raises:
        RagRecError: the engine cannot be opened.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    for address in map(address_of, listeners):
        service.log.info("listening", host=address.host, port=address.port, url=address.url)
    server = Server(service, open_engine, early=early)
    try:
        server.run(list(listeners))
    finally:
        for listener in listeners:
            listener.close()
    if isinstance(server.failure, RagRecError):
        raise server.failure
    if server.failure is not None:
        raise RagRecError(f"The engine could not be opened ({type(server.failure).__name__}).") from server.failure
    if not server.started:
        raise RagRecError("The service could not start; see the messages above.")
    service.log.info("stopped")
