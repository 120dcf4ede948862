"""Reads the bytes of connections into a buffer of ours, which is overwritten when they have been passed on.

The event loop's own buffer keeps the last requests, with ids and texts, until others as long come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

BUFFER_BYTES: Final = 262_144


class CleanReading(asyncio.BufferedProtocol):
    """Reads for another protocol.

    Args:
        buffer: shared by the connections of one event loop, of which one reads at a time.
        make: the protocol, by the same options.
        options: what uvicorn makes a protocol with.
    """

    def __init__(self, buffer: bytearray, make: Callable[..., asyncio.Protocol], **options: Any) -> None:
        self._view = memoryview(buffer)
        self._protocol = make(**options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._protocol.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - what is longer comes in parts
        """Where the next bytes go."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what was read, and overwrite it here."""
        data = bytes(self._view[:nbytes])
        self._view[:nbytes] = bytes(nbytes)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """The other side sends no more."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The other side reads too slowly."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self._protocol.resume_writing()
