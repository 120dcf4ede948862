"""An OpenAI-compatible chat server on a loopback socket that says what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class ChatServer:
    """Streams ``pieces`` as one reply.

    Args:
        pieces: the texts; a ``bytes`` is sent as it is instead.
        status: of the answer.
        gate: waited for before every piece after the first.
        ends: whether the end mark follows.
    """

    def __init__(
        self,
        pieces: Iterable[str | bytes] = (),
        status: int = 200,
        gate: threading.Event | None = None,
        *,
        ends: bool = True,
    ) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.models = b'{"data": [{"id": "first"}, {"id": "second"}]}'
        self.broken_off = threading.Event()
        self._script = (pieces, status, gate, ends)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        gate = self._script[2]
        if gate is not None:
            gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/v1/models"
                self.send_response(200)
                self.end_headers()
                self.wfile.write(server.models)

            def do_POST(self) -> None:
                assert self.path == "/v1/chat/completions"
                server.keys.append(self.headers.get("authorization"))
                server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                try:
                    server._answer(self)
                except OSError:
                    server.broken_off.set()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        pieces, status, gate, ends = self._script
        handler.send_response(status)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("connection", "close")
        handler.end_headers()
        for number, piece in enumerate(pieces):
            if number and gate is not None:
                assert gate.wait(30)
            handler.wfile.write(piece if isinstance(piece, bytes) else event(piece))
            handler.wfile.flush()
        if ends:
            handler.wfile.write(b"data: [DONE]\n\n")


def event(text: str) -> bytes:
    """One piece of a reply, as servers send it."""
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text}}]})}\n\n".encode()
