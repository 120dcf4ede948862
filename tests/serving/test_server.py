"""The real server on a loopback socket."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest

from rag_rec.errors import InvalidInput, NotReady, RagRecError
from serving.logs import open_log
from serving.server import address_of, bind, serve
from tests.serving.listening import HEADERS, running, wait_until_ready

if TYPE_CHECKING:
    from rag_rec.engine.engine import Engine
    from serving.service import Service
    from tests.serving.fake_engine import FakeEngine

CHUNKED = (
    b"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-admin\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.fixture
def loaded() -> threading.Event:
    return threading.Event()


def opening(service: Service, engine: FakeEngine, loaded: threading.Event) -> Callable[[], Engine]:
    """Opens the engine once ``loaded`` is set."""
    service.engine = None

    def open_engine() -> Engine:
        assert loaded.wait(30)
        return engine

    return open_engine


def test_it_is_alive_at_once_ready_when_loaded_and_closes(
    service: Service, engine: FakeEngine, loaded: threading.Event
) -> None:
    with (
        running(service, opening(service, engine, loaded)) as (server, url),
        httpx.Client(base_url=url, headers=HEADERS) as client,
    ):
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.post("/v1/recommendations", json={"user_id": "u1"}).status_code == 503
        loaded.set()
        wait_until_ready(client)
        answer = client.post("/v1/recommendations", json={"user_id": "u1", "k": 1})
        assert (answer.status_code, len(answer.json()["items"])) == (200, 1)
        assert "server" not in answer.headers
        assert client.put("/v1/items/a%2Fb", json={"text": "x"}).status_code == 204
        assert "a/b" in engine.items
    assert engine.closed
    assert server.failure is None


def test_an_encoded_slash_reaches_the_routes(service: Service, engine: FakeEngine) -> None:
    with running(service, lambda: engine) as (_, url), httpx.Client(base_url=url, headers=HEADERS) as client:
        wait_until_ready(client)
        engine.officer.hold("u1", "case 17")
        assert client.put("/v1/users/u1%2Fhold", json={}).status_code == 204
        assert client.delete("/v1/users/u1%2Fhold", params={"dry_run": True}).json()["users"] == 1
        assert "u1" in engine.held
        assert client.delete("/v1/users/u1/hold").status_code == 204


def test_a_stop_finishes_the_requests_under_way(service: Service, engine: FakeEngine) -> None:
    gate = engine.gate = threading.Event()
    with (
        ThreadPoolExecutor(1) as callers,
        running(service, lambda: engine) as (server, url),
        httpx.Client(base_url=url, headers=HEADERS) as client,
    ):
        wait_until_ready(client)
        under_way = callers.submit(client.post, "/v1/recommendations", json={"user_id": "u1"}, timeout=60)
        assert engine.entered.acquire(timeout=30)
        server.should_exit = True
        while not _refused(url):
            pass
        assert not under_way.done()
        gate.set()
        assert under_way.result(60).status_code == 200
    assert engine.closed


def _refused(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz")
    except httpx.TransportError:
        return True
    return False


def test_an_engine_that_does_not_open_ends_the_server(service: Service) -> None:
    service.engine = None

    def open_engine() -> Engine:
        raise NotReady("There is no index generation; run 'rag-rec index build'.")

    with running(service, open_engine) as (server, _):
        pass
    assert isinstance(server.failure, NotReady)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 100, 400),
        (CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n", 400),
    ],
)
def test_what_is_no_http_gets_the_error_shape(service: Service, engine: FakeEngine, sent: bytes, status: int) -> None:
    with running(service, lambda: engine) as (_, url):
        wait_until_alive(url)
        parsed = httpx.URL(url)
        with socket.create_connection((parsed.host, parsed.port), 30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status)
    assert orjson.loads(body)["error"]["code"] == "malformed_request"


def test_a_few_requests_at_once_and_chunks_of_any_size_are_fine(service: Service, engine: FakeEngine) -> None:
    body = b'{"user_id": "u1", "k": 1}'
    sent = [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 10, CHUNKED]
    sent += [b"1\r\n%c\r\n" % byte for byte in body]
    with running(service, lambda: engine) as (_, url):
        wait_until_alive(url)
        parsed = httpx.URL(url)
        with socket.create_connection((parsed.host, parsed.port), 30) as connection:
            connection.sendall(
                b"".join([*sent, b"0\r\n\r\n", b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
            )
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200] * 11 + [404]


def wait_until_alive(url: str) -> None:
    while _refused(url):
        pass


def test_a_taken_port_is_a_clear_error() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = address_of(taken).port
        with pytest.raises(InvalidInput, match=f"127.0.0.1:{port}.*--port"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine_is_a_clear_error() -> None:
    with pytest.raises(InvalidInput, match="--host"):
        bind("203.0.113.1", 0)


def test_serve_tells_where_it_listens_and_why_it_failed(service: Service) -> None:
    service.log = open_log(log := io.BytesIO())
    service.engine = None

    def open_engine() -> Engine:
        raise ValueError("u1")

    listener = bind("127.0.0.1", 0)
    port = address_of(listener).port
    with pytest.raises(RagRecError, match="ValueError") as caught:
        serve(service, [listener], open_engine)
    assert "u1" not in str(caught.value)
    assert orjson.loads(log.getvalue().splitlines()[0])["url"] == f"http://127.0.0.1:{port}"
