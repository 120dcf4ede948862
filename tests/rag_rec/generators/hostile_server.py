"""An LLM server that means harm: raw bytes on a loopback socket, for every request to the paths that it spoils."""

from __future__ import annotations

import json
import math
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum, auto
from functools import cache
from typing import IO, Any, Self

MEBIBYTE = 1024 * 1024
BOMB_MEBIBYTES = 128
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
MODELS = b'{"data": [{"id": "llm", "parent": null, "root": "/models/llm", "max_model_len": 512}]}'


class Attack(StrEnum):
    """What it answers with."""

    GZIP_BOMB = auto()
    DECLARED_LONG = auto()  # says that terabytes follow
    ENDLESS = auto()
    ENDLESS_CHUNKS = auto()
    ENDLESS_HEADERS = auto()
    ENDLESS_INTERIM = auto()  # "100 Continue" again and again
    DRIPPING_HEADERS = auto()
    DRIPPING_BODY = auto()
    DEEP = auto()
    WRONG_TYPES = auto()
    HUGE_NUMBER = auto()
    NOT_A_NUMBER = auto()
    TWICE_THE_SAME = auto()
    REDIRECT = auto()


Answer = Callable[["HostileServer", dict[str, Any]], Iterator[bytes]]


class HostileServer:
    """See the module.

    Args:
        attack: what it does.
        spoiled: the paths that are attacked; it answers the others well. Completions of the client's first look at it
            count as another path, ``probe``.
        elsewhere: where redirects lead.
    """

    def __init__(self, attack: Attack, *spoiled: str, elsewhere: str = "http://127.0.0.1:9/") -> None:
        self.attack = attack
        if attack is Attack.GZIP_BOMB:
            _packed()
        self.spoiled = spoiled
        self.elsewhere = elsewhere
        self.headers: list[bytes] = []
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._listen, daemon=True)]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        socket.create_connection(self._listener.getsockname()).close()  # wakes the listener
        for thread in self._threads:
            thread.join(30)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopped.is_set():
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                head = b"".join(_lines(stream))
                self.headers.append(head)
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                body = json.loads(stream.read(length)) if length else {}
                for piece in self._pieces(head.split()[1].decode(), body):
                    connection.sendall(piece)
                    if self._stopped.is_set():
                        return
            except (OSError, IndexError):
                return

    def _pieces(self, path: str, body: dict[str, Any]) -> Iterator[bytes]:
        name = "probe" if body.get("prompt") == [[0]] else path
        if name in self.spoiled:
            return ATTACKS[self.attack](self, body)
        if path == "/v1/models":
            return iter([whole(MODELS)])
        return iter([whole(completion(body) if path == "/v1/completions" else b"{}")])

    def drip(self, text: bytes) -> Iterator[bytes]:
        """Byte by byte, for ever."""
        while not self._stopped.wait(0.01):
            yield text


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines up to an empty one, or to the end where a client leaves before."""
    while (line := stream.readline()) not in {b"", b"\r\n"}:
        yield line


def whole(content: bytes) -> bytes:
    """A complete answer."""
    return OK + f"content-length: {len(content)}\r\nconnection: close\r\n\r\n".encode() + content


def completion(body: dict[str, Any], value: float | str = -1.0) -> bytes:
    """A good answer to a question for log-probabilities."""
    top = {f"token_id:{label}": value for label in body["logprob_token_ids"]}
    choices = [{"index": number, "logprobs": {"top_logprobs": [top]}} for number in range(len(body["prompt"]))]
    return json.dumps({"choices": choices}).encode()


@cache
def _packed() -> bytes:
    """Packing takes longer than a busy machine has to answer in, so that it is done once, and not while asked."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * MEBIBYTE) for _ in range(BOMB_MEBIBYTES)) + packer.flush()


def _bomb(*_: object) -> Iterator[bytes]:
    yield OK + f"content-encoding: gzip\r\ncontent-length: {len(_packed())}\r\n\r\n".encode() + _packed()


def _endless(head: bytes, piece: bytes) -> Answer:
    def answer(*_: object) -> Iterator[bytes]:
        yield head
        while True:
            yield piece

    return answer


def _dripping(head: bytes) -> Answer:
    def answer(server: HostileServer, _: object) -> Iterator[bytes]:
        yield head
        yield from server.drip(b" ")

    return answer


def _saying(content: bytes) -> Answer:
    return lambda *_: iter([whole(content)])


def _twice(_: object, body: dict[str, Any]) -> Iterator[bytes]:
    document = json.loads(completion(body)) if "logprob_token_ids" in body else {"choices": []}
    for choice in document["choices"]:
        choice["index"] = 7
    yield whole(json.dumps(document).encode())


def _not_a_number(_: object, body: dict[str, Any]) -> Iterator[bytes]:
    yield whole(completion(body, math.nan) if "logprob_token_ids" in body else b"NaN")


def _redirect(server: HostileServer, _: object) -> Iterator[bytes]:
    yield f"HTTP/1.1 307 Elsewhere\r\nlocation: {server.elsewhere}\r\ncontent-length: 0\r\n\r\n".encode()


BLOCK = b" " * 65_536
DEPTH = 40_000
ATTACKS: dict[Attack, Answer] = {
    Attack.GZIP_BOMB: _bomb,
    Attack.DECLARED_LONG: _endless(OK + b"content-length: 9999999999999\r\n\r\n", BLOCK),
    Attack.ENDLESS: _endless(OK + b"connection: close\r\n\r\n", BLOCK),
    Attack.ENDLESS_CHUNKS: _endless(OK + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + BLOCK + b"\r\n"),
    Attack.ENDLESS_HEADERS: _endless(OK, b"x-filler: " + BLOCK[:1000].replace(b" ", b"x") + b"\r\n"),
    Attack.ENDLESS_INTERIM: _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    Attack.DRIPPING_HEADERS: _dripping(OK + b"x-filler: x"),
    Attack.DRIPPING_BODY: _dripping(OK + b"connection: close\r\n\r\n"),
    Attack.DEEP: _saying(b"[" * DEPTH + b"]" * DEPTH),
    Attack.WRONG_TYPES: _saying(
        b'{"choices": [{"index": "0", "logprobs": {"top_logprobs": [[1]]}}], "data": {"id": 1}}'
    ),
    Attack.HUGE_NUMBER: _saying(
        b'{"choices": [{"index": 1e999, "logprobs": {"top_logprobs": [{"token_id:1": ' + b"9" * 9000 + b"}]}}]}"
    ),
    Attack.NOT_A_NUMBER: _not_a_number,
    Attack.TWICE_THE_SAME: _twice,
    Attack.REDIRECT: _redirect,
}
