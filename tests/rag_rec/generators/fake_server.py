"""A server that speaks vLLM's interface and misbehaves on command. It runs on a thread, on loopback.

    with FakeServer(Behaviour.OVERLOADED) as server:
        backend = VllmBackend([server.url])
        server.behaviour = Behaviour.WELL

Each label's log-probability is ``score(prompt, label)``; by default labels with a higher token id are likelier, and all
labels together have the probability :data:`MASS`.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MASS = 0.9
MOST_LABELS = 128
Score = Callable[[Sequence[int], int], float]


class Behaviour(StrEnum):
    """What it does with a completion; ``ABSENT``, ``HUNG`` and ``NOT_HTTP`` hold for every request."""

    WELL = auto()
    ABSENT = auto()  # nobody listens
    HUNG = auto()  # takes the request, and never answers while it is up
    NOT_HTTP = auto()
    SLOW = auto()  # answers after it was released, or not at all
    ERROR = auto()  # 500
    DECLINES = auto()  # 400
    OVERLOADED = auto()  # 503
    TOO_MANY = auto()  # 429
    RESET = auto()  # the connection is reset
    TRUNCATED = auto()  # half of the answer, then the connection ends
    NOT_JSON = auto()
    OTHER_JSON = auto()
    FEWER_ANSWERS = auto()
    LOW_MASS = auto()
    MISSING = auto()  # one label is missing
    NAN = auto()
    NULL = auto()
    INFINITE = auto()
    WRONG_MODEL = auto()  # 404


STATUS = {Behaviour.ERROR: 500, Behaviour.DECLINES: 400, Behaviour.OVERLOADED: 503, Behaviour.TOO_MANY: 429}
BODIES = {Behaviour.NOT_JSON: b"<html>", Behaviour.OTHER_JSON: b'{"choices": [{}]}'}


class FakeServer:
    """See the module.

    Args:
        behaviour: may be changed at any time.
        model: the name under which it serves its model.
        exact: whether it has ``logprob_token_ids``; if not, it ignores the field, as older servers do.
        most: ``--max-logprobs``.
        swaps: whether adapters can be loaded at run time.
        vocabulary: how many tokens there are for ``exact=False``.
        score: log-probability of a label after a prompt.
    """

    def __init__(
        self,
        behaviour: Behaviour = Behaviour.WELL,
        model: str = "fake",
        exact: bool = True,
        most: int = 20,
        swaps: bool = True,
        vocabulary: int = 64,
        score: Score | None = None,
    ) -> None:
        self.behaviour = behaviour
        self.model = model
        self.exact = exact
        self.most = most
        self.swaps = swaps
        self.vocabulary = vocabulary
        self.score = score
        self.root: str | None = None
        self.version: str | None = None
        self.adapters: dict[str, str] = {}
        self.broken_adapters: set[str] = set()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.arrived = threading.Semaphore(0)  # released for every completion that arrives while SLOW
        self.release = threading.Event()
        handler = type("Bound", (_Handler,), {"fake": self})
        self._server = _Listener(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        if self.behaviour is Behaviour.ABSENT:
            self._server.server_close()
        else:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering, and cut the connections. A second call does nothing."""
        self.release.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.cut()
        self._server.server_close()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Fill the queue of connections, before it answers: further ones wait until it accepts some."""
        with ExitStack() as stack:
            for _ in range(2 * self._server.request_queue_size):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(self._server.server_address)
            yield

    def restart(self) -> None:
        """Forget the adapters, as a server that is started anew."""
        self._server.cut()
        self.adapters.clear()

    def asked(self, path: str = "/v1/completions") -> list[dict[str, Any]]:
        """The bodies of the requests to a path, the client's first look at the server excepted."""
        return [body for seen, body in self.requests if seen == path and body.get("prompt") != [[0]]]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no error here."""

    def cut(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeServer

    def do_GET(self) -> None:
        if self._misbehaves_always():
            return
        if self.path == "/health":
            self._answer(b"")
        elif self.path == "/version" and self.fake.version is not None:
            self._json({"version": self.fake.version})
        elif self.path == "/v1/models":
            self._json({"data": [self._card(self.fake.model), *map(self._adapter_card, self.fake.adapters)]})
        else:
            self._json({}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self._misbehaves_always():
            return
        self.fake.requests.append((self.path, body))
        actions = {"/v1/completions": self._complete}
        if self.fake.swaps:
            actions |= {"/v1/load_lora_adapter": self._load, "/v1/unload_lora_adapter": self._unload}
        if self.path in actions:
            actions[self.path](body)
        else:
            self._json({"detail": "Not Found"}, 404)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""

    def _misbehaves_always(self) -> bool:
        if self.fake.behaviour is Behaviour.HUNG:
            self.fake.release.wait(60.0)
            self.close_connection = True
            return True
        if self.fake.behaviour is Behaviour.NOT_HTTP:
            self.wfile.write(b"SSH-2.0-fake\r\n")
            self.close_connection = True
            return True
        return False

    def _load(self, body: dict[str, Any]) -> None:
        name, folder = body["lora_name"], body["lora_path"]
        if not name or not folder or name in self.fake.adapters:
            self._json({"error": {"message": "declined"}}, 400)
        elif folder in self.fake.broken_adapters:
            self._json({"error": {"message": "broken"}}, 500)
        else:
            self.fake.adapters[name] = folder
            self._json({})

    def _unload(self, body: dict[str, Any]) -> None:
        known = self.fake.adapters.pop(body["lora_name"], None) is not None
        self._json({}, 200 if known else 404)

    def _complete(self, body: dict[str, Any]) -> None:
        behaviour = self.fake.behaviour
        if behaviour is Behaviour.SLOW:
            self.fake.arrived.release()
            self.fake.release.wait(60.0)
        known = body["model"] in {self.fake.model, *self.fake.adapters}
        if behaviour is Behaviour.WRONG_MODEL or not known:
            self._json({"error": {"message": "The model does not exist."}}, 404)
        elif behaviour in STATUS:
            self._json({"error": {"message": "no"}}, STATUS[behaviour])
        elif behaviour in BODIES:
            self._answer(BODIES[behaviour])
        elif behaviour is Behaviour.RESET:
            self._reset()
        elif self._too_many(body):
            self._json({"error": {"message": "too many"}}, 400)
        else:
            answer = self._answers(body)
            self._answer(answer, declared=2 * len(answer) if behaviour is Behaviour.TRUNCATED else None)

    def _too_many(self, body: dict[str, Any]) -> bool:
        if self.fake.exact and "logprob_token_ids" in body:
            return len(body["logprob_token_ids"]) > MOST_LABELS
        return int(body["logprobs"]) > self.fake.most

    def _answers(self, body: dict[str, Any]) -> bytes:
        choices = [
            {"index": number, "text": "x", "logprobs": {"top_logprobs": [self._tokens(prompt, body)]}}
            for number, prompt in enumerate(body["prompt"])
        ]
        if self.fake.behaviour is Behaviour.FEWER_ANSWERS:
            del choices[-1]
        return json.dumps({"model": body["model"], "choices": choices[::-1]}).encode()

    def _tokens(self, prompt: list[int], body: dict[str, Any]) -> dict[str, float | None]:
        if self.fake.exact and "logprob_token_ids" in body:
            labels = body["logprob_token_ids"]
        else:
            labels = list(range(self.fake.vocabulary))
        score = self.fake.score or (lambda _, label: math.log(MASS * (label + 1) / sum(each + 1 for each in labels)))
        found: dict[str, float | None] = {f"token_id:{label}": score(prompt, label) for label in labels}
        if not self.fake.exact or "logprob_token_ids" not in body:
            likeliest = sorted(found, key=lambda token: found[token] or 0.0)[::-1]
            found = {token: found[token] for token in likeliest[: body["logprobs"]]}
        return self._spoiled(found)

    def _spoiled(self, found: dict[str, float | None]) -> dict[str, float | None]:
        last = next(reversed(found))
        match self.fake.behaviour:
            case Behaviour.LOW_MASS:
                return {token: (value or 0.0) - 20.0 for token, value in found.items()}
            case Behaviour.MISSING:
                return {token: value for token, value in found.items() if token != last}
            case Behaviour.NAN:
                return {**found, last: math.nan}
            case Behaviour.NULL:
                return {**found, last: None}
            case Behaviour.INFINITE:
                return {**found, last: math.inf}
            case _:
                return found

    def _card(self, name: str) -> dict[str, Any]:
        return {"id": name, "parent": None, "root": self.fake.root or f"/models/{name}", "max_model_len": 512}

    def _adapter_card(self, name: str) -> dict[str, Any]:
        return {"id": name, "parent": self.fake.model, "root": self.fake.adapters[name], "max_model_len": None}

    def _json(self, document: dict[str, Any], status: int = 200) -> None:
        self._answer(json.dumps(document).encode(), status)

    def _answer(self, content: bytes, status: int = 200, declared: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content) if declared is None else declared))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.close_connection or declared is not None

    def _reset(self) -> None:
        """Close so that the other side gets a reset, not an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()
