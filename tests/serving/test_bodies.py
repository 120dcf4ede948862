"""Bodies are bounded by route, counted, and given up on when they do not arrive."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest

from serving.admission import ProtectedRoute
from serving.app import ROUTERS
from serving.bodies import INLINE_BYTES, bounds_of
from serving.errors import Overloaded
from serving.limits import Limits
from serving.structure import SMALL, Bounds
from tests.serving.conftest import error_code
from tests.serving.listening import HEADERS, running, wait_until_ready

if TYPE_CHECKING:
    from serving.service import Service
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine

JSON = {"Content-Type": "application/json"}
MIB = 2**20


@pytest.fixture
def limits() -> Limits:
    return replace(Limits(), answer_threads=1)


def test_every_route_takes_as_much_as_it_needs() -> None:
    found = {
        (method, route.path_format): bounds_of(route.endpoint)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, ProtectedRoute) and route.body_field is not None
        for method in route.methods or ()
    }
    assert found == {
        ("POST", "/v1/recommendations"): SMALL,
        ("POST", "/v1/recommendations/explain"): SMALL,
        ("POST", "/v1/users/{user_id}/interactions"): Bounds(4 * MIB, 8_064),
        ("PUT", "/v1/users/{user_id}"): Bounds(MIB, 20_000),
        ("PUT", "/v1/items/{item_id}"): Bounds(MIB, 20_000),
        ("POST", "/v1/forget"): Bounds(4 * MIB, 30_064),
        ("POST", "/v1/forget/find"): SMALL,
        ("PUT", "/v1/users/{user_id}/hold"): SMALL,
    }


UNKNOWN = b"{" + b",".join(b'"f%d":1' % number for number in range(400_000)) + b"}"
COSTLY: list[tuple[str, bytes]] = [
    ("/v1/recommendations", UNKNOWN[: 4 * MIB - 6] + b"}"),
    ("/v1/recommendations", b'{"user_id":"u1",' + b",".join(b'"f%d":1' % n for n in range(100)) + b"}"),
    ("/v1/users/u1/interactions", b"[" + b"{}," * MIB + b"{}]"),
    ("/v1/users/u1/interactions", b"[" + b"1," * (2 * MIB - 2) + b"1]"),
    ("/v1/users/u1/interactions", b"[" * (4 * MIB)),
    ("/v1/users/u1/interactions", b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
    ("/v1/users/u1/interactions", b'{"item_id":"' + b"x" * (4 * MIB - 20) + b'"}'),
    ("/v1/users/u1/interactions", b'{"item_id":"i1","value":' + b"9" * (4 * MIB - 40) + b"}"),
    ("/v1/users/u1/interactions", b"{" + b'"item_id":"i1",' * 250_000 + b'"item_id":"i1"}'),
    ("/v1/users/u1/interactions", b'[{"item_id":"i1"},' + b'{"x":1},' * 2_000 + b"{}]"),
    ("/v1/users/u1/interactions", b'{"item_id":"i1",' + b",".join(b'"f%d":1' % n for n in range(5_000)) + b"}"),
    ("/v1/forget", b'{"scope":"user","user_ids":[' + b'"",' * 20_000 + b'""]}'),
    ("/v1/forget", b'{"scope":"user","user_ids":[' + b'"u",' * 20_000 + b'"u"]}'),
]


@pytest.mark.parametrize(("path", "body"), COSTLY, ids=lambda value: repr(value)[:40])
def test_costly_bodies_are_refused_with_few_words(api: Api, path: str, body: bytes) -> None:
    response = api.call("POST", path, content=body, headers=JSON)
    assert response.status_code in {400, 413, 422}, response.text[:200]
    assert len(response.json()["error"].get("details", ())) <= 20
    assert len(response.content) < 10_000
    assert api.service.body_bytes == 0


def test_as_many_events_as_are_promised_are_taken(api: Api, engine: FakeEngine) -> None:
    events = [
        {"item_id": "i1", "event": "rating", "value": 5, "text": 'a "quoted", [odd] text', "time": number}
        for number in range(api.service.limits.events)
    ]
    body = orjson.dumps(events)
    assert len(body) > INLINE_BYTES
    response = api.call("POST", "/v1/users/u1/interactions", content=body, headers=JSON)
    assert (response.status_code, response.json()["accepted"]) == (200, len(events))
    assert len(engine.log["u1"]) == len(events) + 2
    one_more = orjson.dumps([*events, events[0]])
    response = api.call("POST", "/v1/users/u1/interactions", content=one_more, headers=JSON)
    assert (response.status_code, error_code(response)) == (422, "invalid_input")


def test_whole_numbers_may_be_written_with_a_point(api: Api, engine: FakeEngine) -> None:
    assert api.call("POST", "/v1/recommendations", json={"user_id": "u1", "k": 2.0}).status_code == 200
    assert api.call("POST", "/v1/users/u1/interactions", json={"item_id": "i1", "time": 1e3}).status_code == 200
    assert engine.log["u1"][-1].time == 1000
    assert api.call("PUT", "/v1/users/u1", json={"attributes": {"weight": 70.0}}).status_code == 204
    assert isinstance(engine.users["u1"].attributes["weight"], float)


def test_bodies_beyond_the_memory_for_all_are_refused(api: Api) -> None:
    api.service.limits = replace(api.service.limits, bodies_bytes=1000)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    response = api.call("POST", "/v1/recommendations", content=parts(), headers=JSON)
    assert (response.status_code, error_code(response)) == (Overloaded.status, Overloaded.code)
    assert response.headers["retry-after"]
    assert api.service.body_bytes == 0
    assert api.call("POST", "/v1/recommendations", json={"user_id": "u1"}).status_code == 200


def begin(url: str, head: str) -> socket.socket:
    address = httpx.URL(url)
    connection = socket.create_connection((address.host, address.port), 60)
    connection.sendall(head.encode())
    return connection


def rest(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(key: str, length: int = 100) -> str:
    lines = ["POST /v1/recommendations HTTP/1.1", "Host: x", f"X-API-Key: {key}", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""])


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        ("", set()),  # silent
        ("\r\n", set()),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n", {408}),  # half a head
        (head("key-of-admin") + '{"user_id"', {408}),  # half a body
        (head("key-of-nobody") + '{"user_id"', {401}),  # half a body that nobody reads
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx", {200}),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", {200}),  # and silent afterwards
    ],
)
def test_who_does_not_go_on_is_cut_off(service: Service, engine: FakeEngine, sent: str, statuses: set[int]) -> None:
    service.limits = replace(service.limits, head_seconds=0.5, body_seconds=0.5, idle_seconds=1)
    with running(service, lambda: engine) as (_, url), httpx.Client(base_url=url, headers=HEADERS) as client:
        wait_until_ready(client)
        answer: Any = rest(begin(url, sent))  # ends when the service closes the connection
        assert {int(part[:3]) for part in answer.decode().split("HTTP/1.1 ")[1:]} == statuses
        if statuses == {408}:
            assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"
        assert client.get("/healthz").status_code == 200
    assert len(service.connections) == 0
