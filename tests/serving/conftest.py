"""A small engine that keeps everything in dictionaries, and a client that holds every answer against the OpenAPI."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel

from rag_rec.domain import (
    Interaction,
    Item,
    Provenance,
    Reason,
    Recommendation,
    RecommendationRequest,
    RecommendedItem,
    SimilarItem,
    Source,
    User,
)
from rag_rec.errors import NotReady, UnknownItem, UnknownRequest, UnknownUser
from rag_rec.explainer import Explainer
from rag_rec.explanation import Conditions, ExplainedRecommendation
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.settings import Settings
from rag_rec.status import Status
from rag_rec.store.protocol import AppendResult, ForgetRecord
from rag_rec.validation import check_interaction, check_item, check_user
from serving.app import create_app
from serving.auth import Keyring, Role
from serving.limits import Limits
from serving.logs import open_log
from serving.service import Service
from tests.serving.contract import Contract

KEYS = {role.value: f"key-of-{role.value}" for role in Role}


@dataclass
class FakeEngine:
    """Popular items first for everybody; a user's own items are left out."""

    users: dict[str, User] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    log: dict[str, list[Interaction]] = field(default_factory=dict)
    records: dict[str, ForgetRecord] = field(default_factory=dict)
    epoch: int = 0
    ready: bool = True
    closed: bool = False
    generation: str = "first"
    next_generation: str | None = None
    requests: list[RecommendationRequest] = field(default_factory=list)
    failure: Exception | None = None
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    gate: threading.Event | None = None
    chat: BaseChatModel | None = None

    def recommend(self, request: RecommendationRequest) -> Recommendation:
        self.requests.append(request)
        self._pass()
        seen = {interaction.item_id for interaction in self.log.get(request.user_id, [])}
        known = request.user_id in self.users
        chosen = [item for item in self.items.values() if item.id not in seen][: request.k]
        reasons = tuple(
            Reason(event.item_id, event.event, event.time, 1.0) for event in self.log.get(request.user_id, [])[:1]
        )
        items = tuple(RecommendedItem(item.id, item.text, 0.5, ("popularity",), reasons) for item in chosen)
        source = Source.CANDIDATES if known else Source.POPULARITY
        return Recommendation(items, Provenance(self.epoch, self.generation, request.strategy, source, known, 0))

    def explain(
        self, request: RecommendationRequest, item_id: str | None, stopped: Callable[[], bool]
    ) -> ExplainedRecommendation:
        if self.chat is None:
            raise NotReady("No LLM is configured that could explain.")
        answer = self.recommend(request)
        return Explainer(self.chat).explain(answer, item_id, self.items.__getitem__, Conditions(stopped=stopped))

    def similar(self, item_id: str, k: int, filters: str | None = None) -> list[SimilarItem]:
        self._pass()
        if item_id not in self.items:
            raise UnknownItem("There is no item with this id.")
        others = [item for item in self.items.values() if item.id != item_id]
        return [SimilarItem(item.id, item.text, 0.25) for item in others[:k] if filters != "nothing"]

    def add_interactions(self, user_id: str, interactions: Sequence[Interaction]) -> AppendResult:
        self._pass()
        for interaction in interactions:
            check_interaction(interaction)
            if interaction.item_id not in self.items:
                raise UnknownItem("There is no item with this id.")
        stored = self.log.setdefault(user_id, [])
        new = [interaction for interaction in interactions if interaction not in stored]
        stored.extend(new)
        self.users.setdefault(user_id, User(user_id))
        self.epoch += 1
        return AppendResult(len(new), len(interactions) - len(new))

    def put_user(self, user: User) -> None:
        self._pass()
        check_user(user)
        self.users[user.id] = user
        self.epoch += 1

    def put_item(self, item: Item) -> None:
        self._pass()
        check_item(item)
        self.items[item.id] = item
        self.epoch += 1

    def export(self, user_id: str) -> tuple[User, list[Interaction]]:
        self._pass()
        return self._user(user_id), self.log.get(user_id, [])

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        self._pass()
        request.check()
        self._user(request.user_id)
        gone = [event for event in self.log.get(request.user_id, []) if _meant(event, request)]
        before, removed = self.epoch, {"interactions": len(gone)}
        if request.dry_run:
            return ForgetOutcome(None, "dry_run", request.scope, before, before, removed)
        self.epoch += 1
        self.log[request.user_id] = [event for event in self.log.get(request.user_id, []) if event not in gone]
        if request.selection is None:
            del self.users[request.user_id]
        record = ForgetRecord(f"r{self.epoch}", request.scope, "erased", before, self.epoch, 1, 2, removed)
        self.records[record.request_id] = record
        return ForgetOutcome(record.request_id, record.state, record.scope, before, self.epoch, removed, {"store": 1.5})

    def forget_status(self, request_id: str) -> ForgetRecord:
        self._pass()
        if request_id not in self.records:
            raise UnknownRequest("There is no forget request with this id.")
        return self.records[request_id]

    def status(self) -> Status:
        events = sum(map(len, self.log.values()))
        reason = None if self.ready else "Catching up with the store."
        return Status(self.ready, self.generation, self.epoch, 0, len(self.users), len(self.items), events, reason)

    def refresh(self) -> bool:
        self._pass()
        if self.next_generation is None:
            return False
        self.generation, self.next_generation = self.next_generation, None
        return True

    def close(self) -> None:
        self.closed = True

    def _user(self, user_id: str) -> User:
        if user_id not in self.users:
            raise UnknownUser("There is no user with this id.")
        return self.users[user_id]

    def _pass(self) -> None:
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.failure is not None:
            raise self.failure


def _meant(event: Interaction, request: ForgetRequest) -> bool:
    selection = request.selection
    if selection is None:
        return True
    return (
        (not selection.item_ids or event.item_id in selection.item_ids)
        and (selection.before is None or event.time < selection.before)
        and (selection.after is None or event.time >= selection.after)
    )


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
