"""The real service, in a process of its own, under attack by callers without a key and with the lowest roles."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from serving.auth import Role
from tests.serving.small_service import KEYS, prepare, small_service

FILES = 400
SILENT = 600
MIB = 2**20
RESIDENT = 300 * MIB

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    prepare(home)
    with small_service(home, FILES) as address:
        with client(address) as ready:
            while ready.get("/readyz").status_code != 200:
                pass
        yield address


def client(url: str, role: Role = Role.ADMIN) -> httpx.Client:
    headers = {"X-API-Key": KEYS[role], "Content-Type": "application/json"}
    return httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False)


def process_of(url: str) -> psutil.Process:
    """The process that listens there: a child of this one."""
    port = httpx.URL(url).port
    for child in psutil.Process().children():
        if any(wire.laddr.port == port for wire in child.net_connections() if wire.status == psutil.CONN_LISTEN):
            return child
    raise AssertionError("nobody listens")


EVENTS = "/v1/users/user-1/interactions"
ATTACKS: list[tuple[Role, str, bytes]] = [
    (Role.INGEST, EVENTS, b"[" + b"1," * (2 * MIB - 2) + b"1]"),
    (Role.INGEST, EVENTS, b"[" + b"{}," * (MIB + 300_000) + b"{}]"),
    (Role.INGEST, EVENTS, b'{"a":' * 500_000 + b"1"),
    (Role.INGEST, EVENTS, b"[" * (4 * MIB - 1)),
    (Role.INGEST, EVENTS, b'[{"item_id":"' + b"\\u00e9" * 600_000 + b'"}]'),
    (Role.INGEST, EVENTS, b'[{"item_id":"item-1","value":' + b"9" * (3 * MIB) + b"}]"),
    (Role.INGEST, EVENTS, b"{" + b'"item_id":"item-1",' * 200_000 + b'"item_id":"item-1"}'),
    (Role.INGEST, EVENTS, b'[{"item_id":"item-1"},' + b'{"x":1},' * 3_900 + b"{}]"),
    (Role.RECOMMEND, "/v1/recommendations", b"{" + b'"f":1,' * 690_000 + b'"f":1}'),
    (Role.RECOMMEND, "/v1/recommendations", b"{" + b",".join(b'"f%d":1' % n for n in range(4_000)) + b"}"),
]


def test_costly_bodies_do_not_keep_the_health_check_waiting(url: str) -> None:
    process, done, statuses = process_of(url), threading.Event(), []
    before = process.memory_info().rss

    def attack(number: int) -> None:
        role, path, body = ATTACKS[number % len(ATTACKS)]
        with client(url, role) as attacker:
            for _ in range(3):
                statuses.append(attacker.post(path, content=body).status_code)

    def watch() -> tuple[int, int]:
        healthy, largest = 0, 0
        with client(url) as observer:
            while not done.is_set():
                assert observer.get("/healthz", timeout=10).status_code == 200
                healthy, largest = healthy + 1, max(largest, process.memory_info().rss)
        return healthy, largest

    with ThreadPoolExecutor(9) as threads:
        observed = threads.submit(watch)
        attackers = [threads.submit(attack, number) for number in range(len(ATTACKS))]
        try:
            for each in attackers:
                each.result(300)
        finally:
            done.set()
        healthy, largest = observed.result(60)
    assert set(statuses) <= {400, 413, 422, 503}
    assert len(statuses) == 3 * len(ATTACKS)
    assert healthy > len(statuses)  # the loop went on between all of them
    assert largest < before + RESIDENT


def test_silent_connections_leave_room_for_everybody(url: str) -> None:
    address = httpx.URL(url)
    with ExitStack() as silent, client(url) as kept:
        assert kept.get("/healthz").status_code == 200
        for number in range(SILENT):
            connection = silent.enter_context(socket.create_connection((address.host, address.port), 30))
            if number % 3 == 0:
                connection.sendall(b"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\n")
        assert process_of(url).num_fds() < FILES
        for method, path, body in (
            ("GET", "/healthz", None),
            ("GET", "/readyz", None),
            ("POST", "/v1/recommendations", {"user_id": "user-1"}),
            ("POST", EVENTS, {"item_id": "item-5"}),
            ("DELETE", "/v1/users/user-2?dry_run=true", None),
            ("GET", "/v1/users/user-2/export", None),
        ):
            for _ in range(3):  # on connections of their own
                with client(url) as caller:
                    assert caller.request(method, path, json=body).status_code == 200, path
        figures = kept.get("/metrics").text
    evicted = re.search(r'^ragrec_connections_ended_total\{why="evicted"\} (\S+)$', figures, re.MULTILINE)
    assert evicted
    assert float(evicted[1]) >= SILENT - FILES


@pytest.mark.usefixtures("url")
def test_nothing_was_logged_as_a_defect(tmp_path_factory: pytest.TempPathFactory) -> None:
    log = next(Path(tmp_path_factory.getbasetemp()).glob("home*/service.log")).read_text()
    assert '"event":"defect"' not in log
    assert "Traceback" not in log
