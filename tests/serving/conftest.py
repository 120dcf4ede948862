"""A service over a small engine, and a client that holds every answer against the OpenAPI."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel

from rag_rec.domain import Interaction, Item, User
from rag_rec.settings import Settings
from serving.app import create_app
from serving.auth import Keyring, Role
from serving.limits import Limits
from serving.logs import open_log
from serving.service import Service
from tests.serving.contract import Contract
from tests.serving.fake_engine import FakeEngine

KEYS = {role.value: f"key-of-{role.value}" for role in Role}


class Api:
    """A client in the same process. Every answer to a documented call is checked against the document."""

    def __init__(self, service: Service, portal: BlockingPortal, log: io.BytesIO, document: dict[str, Any]) -> None:
        self.service = service
        self.app = create_app(service)
        self.contract = Contract(document)
        self.log = log
        self.portal = portal
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://service")

    def call(self, method: str, path: str, role: str | None = "admin", **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if role is not None:
            headers.setdefault("Authorization", f"Bearer {KEYS[role]}")
        response = self.portal.call(partial(self._client.request, method, path, headers=headers, **options))
        self.contract.check(method, path, response)
        return response

    def ask(self, method: str, path: str, key: str, body: object = None) -> httpx.Response:
        """Call with a key, whatever the answer."""
        request = partial(self._client.request, method, path, json=body, headers={"X-API-Key": key})
        return self.portal.call(request)

    def forget(self, user_id: str) -> httpx.Response:
        """The dry run, then the removal of a user."""
        address = f"/v1/users/{quote(user_id, safe='')}"
        plan = self.call("DELETE", f"{address}?dry_run=true").json()["plan"]
        return self.call("DELETE", address, params={"confirm": user_id, "plan": plan})

    def start(self, method: str, path: str, **options: Any) -> Any:
        """Call without waiting; the future's result is the response."""
        return self.portal.start_task_soon(partial(self.call_async, method, path, **options))

    async def call_async(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {KEYS['admin']}"}
        response = await self._client.request(method, path, headers=headers, **options)
        self.contract.check(method, path, response)
        return response


def error_code(response: httpx.Response) -> str:
    content: Mapping[str, Any] = response.json()
    code: str = content["error"]["code"]
    return code


@pytest.fixture
def engine() -> FakeEngine:
    fake = FakeEngine(chat=GenericFakeChatModel(messages=itertools.repeat("You rated it [1]. As said [9].")))
    for number in range(5):
        fake.items[f"i{number}"] = Item(f"i{number}", f"Item {number}", {"year": 1990 + number})
    fake.users["u1"] = User("u1", {"age": 30, "tags": ("a", "b")})
    fake.log["u1"] = [Interaction("u1", "i0", 1000, value=5.0), Interaction("u1", "i1", 2000, text="liked it")]
    return fake


@pytest.fixture
def limits() -> Limits:
    return Limits(body_bytes=10_000, events=20, answer_threads=1, waiting=1)


@pytest.fixture
def service(engine: FakeEngine, limits: Limits, tmp_path: Any) -> Service:
    keyring = Keyring({key: frozenset({Role(role)}) for role, key in KEYS.items()})
    return Service(Settings(home=tmp_path, max_k=50), keyring, open_log(io.BytesIO()), engine, limits)


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """The OpenAPI document; the same for every service with these settings, and slow to make."""
    service = Service(Settings(max_k=50), Keyring({}), open_log(io.BytesIO()))
    try:
        return create_app(service).openapi()
    finally:
        service.close()


@pytest.fixture
def api(service: Service, document: dict[str, Any]) -> Iterator[Api]:
    log = io.BytesIO()
    service.log = open_log(log)
    with start_blocking_portal() as portal:
        yield Api(service, portal, log, document)
    service.close()
