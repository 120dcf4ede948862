"""An answer has left when no byte of it is in this process any more, whatever the reader does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rag_rec.domain import Interaction
from serving.limits import Limits
from tests.serving.listening import HEADERS, running, wait_until_ready

if TYPE_CHECKING:
    from serving.service import Service
    from tests.serving.fake_engine import FakeEngine

LARGE = 48 * 2**20  # more than the operating system keeps for a connection


@pytest.fixture
def limits() -> Limits:
    return Limits(barrier_seconds=30)


@contextmanager
def slow_reader(url: str) -> Iterator[socket.socket]:
    """Asks for an export on a connection of its own, and has read the beginning of the answer."""
    address = httpx.URL(url)
    request = "GET /v1/users/u1/export HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: key-of-admin\r\n\r\n"
    with socket.create_connection((address.host, address.port), 30) as connection:
        connection.sendall(request.encode())
        assert connection.recv(1) == b"H"
        yield connection


def rest(connection: socket.socket) -> int:
    """How many bytes still arrive."""
    total = 0
    try:
        while part := connection.recv(2**20):
            total += len(part)
    except ConnectionError:  # dropped
        pass
    return total


@contextmanager
def serving(service: Service, engine: FakeEngine) -> Iterator[tuple[str, Any]]:
    """A server with a large export; gives its address, and a function that forgets the person."""
    engine.log["u1"] = [Interaction("u1", "i0", 1, text="x" * LARGE)]
    with (
        running(service, lambda: engine) as (_, url),
        httpx.Client(base_url=url, headers=HEADERS, timeout=60) as client,
        ThreadPoolExecutor(1) as callers,
    ):
        wait_until_ready(client)
        plan = client.delete("/v1/users/u1?dry_run=true").json()["plan"]
        yield url, lambda: callers.submit(client.delete, f"/v1/users/u1?confirm=u1&plan={plan}")


def test_a_removal_waits_for_a_slow_reader(service: Service, engine: FakeEngine) -> None:
    with serving(service, engine) as (url, forget), slow_reader(url) as connection:
        removal = forget()
        while "u1" in engine.users:
            pass
        assert not removal.done()
        assert rest(connection) > LARGE
        assert removal.result(60).status_code == 200


def test_nothing_leaves_for_a_reader_who_is_too_slow(service: Service, engine: FakeEngine) -> None:
    service.limits = Limits(barrier_seconds=0.05)
    with serving(service, engine) as (url, forget), slow_reader(url) as connection:
        assert forget().result(60).status_code == 200
        assert rest(connection) < LARGE
    assert service.metrics.registry.get_sample_value("ragrec_answers_cut_off_total") == 1
