"""uvicorn's HTTP protocol with what it does not offer: the one error shape for requests that cannot be parsed, a bound
on the size and the time of the request line and headers, a place among the open connections, and a way to wait until
an answer is out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.connections import Connections
from serving.errors import error_body, retry_after
from serving.limits import Limits

WAY_OUT: Final = "rag_rec.way_out"
"""Name of the extension in the scope of a request with its connection's functions ``ready``, ``sent`` and ``drop``."""

GRACE: Final = 5.0
"""Seconds that a body has beyond its limit, within which the application answers that it came too slowly."""


PIPELINED: Final = 16
"""Requests that a caller may send before the answer to the first: each is a task."""

PIECES: Final = 1024
"""Pieces of a body that may be of any size; further ones must have :data:`PIECE_BYTES` on the average."""

PIECE_BYTES: Final = 64


class ServiceProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        connections: the others.
        limits: of the service.
        options: uvicorn's own.
    """

    def __init__(self, connections: Connections, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self.address = ""
        self._connections = connections
        self._limits = limits
        self._head = 0
        self._pieces = 0
        self._body = 0
        self._receiving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take up the connection, or refuse it."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.address = self.client[0] if self.client else ""
        if self._connections.admit(self):
            self._connections.wait(self, self._limits.head_seconds)
        else:
            message = "The service has too many connections; try again after the seconds in Retry-After."
            self._answer_and_close(503, "overloaded", message, {"retry-after": retry_after()})

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it off."""
        self._connections.remove(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start counting."""
        if len(self.pipeline) >= PIPELINED:
            raise ValueError("too many requests at once")
        self._head = self._pieces = self._body = 0
        super().on_message_begin()
        self.scope["extensions"] = {WAY_OUT: {"ready": self.flow.drain, "sent": self.sent, "drop": self.drop}}
        if self._is_free:
            self._connections.wait(self, self._limits.head_seconds)

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait for the body."""
        self._receiving = True
        if self._is_free:
            self._connections.wait(self, self._limits.body_seconds + GRACE)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count a piece of the body: the event loop spends as much on one of a byte as on one of many."""
        self._pieces += 1
        self._body += len(body)
        if self._pieces > PIECES and self._body < PIECE_BYTES * self._pieces:
            raise ValueError("chunks too small")
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Let the service answer."""
        self._receiving = False
        if not self._is_free:
            self._connections.work(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the rest of a body that was not read, or for the next request."""
        seconds = self._limits.body_seconds if self._receiving else self._limits.idle_seconds
        self._connections.wait(self, seconds)
        self._head = 0
        if not self.pipeline and self.scope is self.cycle.scope:  # no other request has begun to arrive
            self.url, self.headers = b"", []
            self.scope = self.cycle.scope = {}  # type: ignore[typeddict-item] # a caller may wait long before the next
        super().on_response_complete()
        if not self._is_free:  # a request that was sent before the answer to the one before it
            self._connections.work(self)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words are not for callers
        """Answer a request that cannot be parsed, and close the connection."""
        too_long = self._head > self._limits.head_bytes
        message = "The request line or the headers are too long." if too_long else "This cannot be read as HTTP."
        self._answer_and_close(431 if too_long else 400, "malformed_request", message)

    def expire(self) -> None:
        """End the connection of a caller who took too long; one who began a request is told."""
        if self._is_free and self._head:
            self._answer_and_close(408, "request_timeout", "The request took too long to arrive; send it faster.")
        elif self._is_free:
            self.transport.close()
        else:
            self.drop()

    def unread(self) -> int:
        """Bytes in the buffer of this process that the caller has not taken yet."""
        return self.transport.get_write_buffer_size()

    async def sent(self) -> None:
        """Wait until everything written is with the operating system, and nothing in a buffer of this process."""
        with suppress(RuntimeError):  # the connection is closed already, and its buffer gone
            self.transport.set_write_buffer_limits(high=0)
            await self.flow.drain()
            self.transport.set_write_buffer_limits()

    def drop(self) -> None:
        """Close the connection at once, with whatever is still in its buffer."""
        self.transport.abort()

    @property
    def _is_free(self) -> bool:
        """Whether no answer is being made."""
        return self.cycle is None or self.cycle.response_complete

    def _answer_and_close(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = orjson.dumps(error_body(code, message))
        head = {"content-type": "application/json", "content-length": len(body), **(headers or {})}
        lines = [b"%b: %b\r\n" % (name.encode(), str(value).encode()) for name, value in head.items()]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"connection: close\r\n\r\n", body]))
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > self._limits.head_bytes:
            raise ValueError("head too long")  # the parser turns it into an error of its own, see send_400_response
