"""uvicorn's HTTP protocol with three additions: the one error shape for requests that cannot be parsed, a bound on the
size of the request line and headers, which the parser itself does not have, and a way to wait until an answer is out.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.errors import error_body
from serving.limits import Limits

WAY_OUT: Final = "rag_rec.way_out"
"""Name of the extension in the scope of a request with the functions ``sent`` and ``drop`` of its connection."""


class ServiceProtocol(HttpToolsProtocol):
    """One connection."""

    head_limit = Limits().head_bytes
    _head = 0

    def on_message_begin(self) -> None:
        """Start counting."""
        self._head = 0
        super().on_message_begin()
        self.scope["extensions"] = {WAY_OUT: {"sent": self.sent, "drop": self.drop}}

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words are not for callers
        """Answer a request that cannot be parsed, and close the connection."""
        too_long = self._head > self.head_limit
        status = 431 if too_long else 400
        message = "The request line or the headers are too long." if too_long else "This is not an HTTP request."
        body = orjson.dumps(error_body("malformed_request", message))
        head = [
            STATUS_LINE[status],
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(body),
            b"connection: close\r\n\r\n",
        ]
        self.transport.write(b"".join([*head, body]))
        self.transport.close()

    async def sent(self) -> None:
        """Wait until everything written is with the operating system, and nothing in a buffer of this process."""
        with suppress(RuntimeError):  # the connection is closed already, and its buffer gone
            self.transport.set_write_buffer_limits(high=0)
            await self.flow.drain()
            self.transport.set_write_buffer_limits()

    def drop(self) -> None:
        """Close the connection at once, with whatever is still in its buffer."""
        self.transport.abort()

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > self.head_limit:
            raise ValueError("head too long")  # the parser turns it into an error of its own, see send_400_response
