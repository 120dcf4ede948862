"""A small engine that keeps everything in dictionaries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from langchain_core.language_models import BaseChatModel

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
from rag_rec.engine.attendance import Attendance
from rag_rec.engine.engine import Engine
from rag_rec.engine.officer import Officer
from rag_rec.engine.status import Status
from rag_rec.errors import NotReady, UnknownItem, UnknownUser
from rag_rec.explain.explainer import Explainer
from rag_rec.explain.records import Conditions, ExplainedRecommendation
from rag_rec.forgetting.request import ForgetOutcome
from rag_rec.generators.condition import OFF, Condition
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.store.records import AppendResult, Hold, StoredInteraction
from rag_rec.validation import check_interaction, check_item, check_user
from tests.serving.fake_officer import FakeOfficer


def _set(event: threading.Event) -> threading.Event:
    event.set()
    return event


@dataclass
class FakeEngine(Engine):
    """Popular items first for everybody; a user's own items are left out. Nothing of the engine's own is used."""

    users: dict[str, User] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    log: dict[str, list[Interaction]] = field(default_factory=dict)
    records: dict[str, ForgetRecord] = field(default_factory=dict)
    outcomes: dict[str, ForgetOutcome] = field(default_factory=dict)
    state: ForgetState = ForgetState.COMPLETE
    held: dict[str, Hold] = field(default_factory=dict)
    identities: dict[str, int] = field(default_factory=dict)
    suppressed: int = 0
    let_answers_leave: Callable[[], None] | None = None
    epoch: int = 0
    ready: bool = True
    closed: bool = False
    stays: int = 0
    generator: Condition = OFF
    present_term: int | None = 0
    attended: int = 0
    warming: threading.Event = field(default_factory=lambda: _set(threading.Event()))
    warm: threading.Event = field(default_factory=threading.Event)
    warm_up_failure: Exception | None = None
    losses: int = 0
    generation: str = "first"
    next_generation: str | None = None
    requests: list[RecommendationRequest] = field(default_factory=list)
    failure: Exception | None = None
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released by each call that a caller makes."""
    in_background: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released by each call that the service makes by itself, whenever that is."""
    gate: threading.Event | None = None
    chat: BaseChatModel | None = None

    def __post_init__(self) -> None:
        self.officer: Officer = FakeOfficer(self)
        self.attendance: Attendance = FakeAttendance(self)

    def recommend(self, request: RecommendationRequest) -> Recommendation:
        self.requests.append(request)
        self.enter()
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
        self, request: RecommendationRequest, item_id: str | None = None, stopped: Callable[[], bool] = lambda: False
    ) -> ExplainedRecommendation:
        if self.chat is None:
            raise NotReady("No LLM is configured that could explain.")
        answer = self.recommend(request)
        return Explainer(self.chat).explain(answer, item_id, self.items.__getitem__, Conditions(stopped=stopped))

    def similar(self, item_id: str, k: int, filters: str | None = None) -> list[SimilarItem]:
        self.enter()
        if item_id not in self.items:
            raise UnknownItem("There is no item with this id.")
        others = [item for item in self.items.values() if item.id != item_id]
        return [SimilarItem(item.id, item.text, 0.25) for item in others[:k] if filters != "nothing"]

    def add_interactions(self, user_id: str, interactions: Sequence[Interaction]) -> AppendResult:
        self.enter()
        for interaction in interactions:
            check_interaction(interaction)
            if interaction.item_id not in self.items:
                raise UnknownItem("There is no item with this id.")
        if self.identities.get(user_id) == 0:
            self.suppressed += len(interactions)
            return AppendResult(0, 0, len(interactions))
        stored = self.log.setdefault(user_id, [])
        new = [interaction for interaction in interactions if interaction not in stored]
        stored.extend(new)
        self.users.setdefault(user_id, User(user_id))
        self.epoch += 1
        return AppendResult(len(new), len(interactions) - len(new))

    def put_user(self, user: User) -> None:
        self.enter()
        check_user(user)
        self.users[user.id] = user
        self.epoch += 1

    def put_item(self, item: Item) -> None:
        self.enter()
        check_item(item)
        self.items[item.id] = item
        self.epoch += 1

    def status(self) -> Status:
        events = sum(map(len, self.log.values()))
        reason = None if self.ready else "Catching up with the store."
        erased = max((record.epoch_after for record in self.records.values()), default=0)
        return Status(
            ready=self.ready,
            generation=self.generation,
            epoch=self.epoch,
            lag=0,
            users=len(self.users),
            items=len(self.items),
            interactions=events,
            reason=reason,
            suppressed=self.suppressed,
            erasure_epoch=erased,
            ledger_copy_lag=0,
            removal_process_losses=self.losses,
            generator=self.generator,
        )

    def warm_up(self) -> None:
        self.warming.wait(30)
        if self.warm_up_failure is not None:
            raise self.warm_up_failure
        self.warm.set()

    def refresh(self) -> bool:
        self.enter(self.in_background)
        if self.next_generation is None:
            return False
        self.generation, self.next_generation = self.next_generation, None
        return True

    def close(self) -> None:
        self.closed = True

    def stored_of(self, user_id: str) -> list[StoredInteraction]:
        return [StoredInteraction(number, event) for number, event in enumerate(self.log.get(user_id, []))]

    def user_of(self, user_id: str) -> User:
        if user_id not in self.users:
            raise UnknownUser("There is no user with this id.")
        return self.users[user_id]

    def enter(self, said: threading.Semaphore | None = None) -> None:
        (said or self.entered).release()
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.failure is not None:
            raise self.failure


class FakeAttendance(Attendance):
    """Says of a fake engine what the test wants."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    @property
    def term(self) -> int | None:
        return self._engine.present_term

    def attend(self) -> bool:
        self._engine.attended += 1
        return False

    def join(self, let_answers_leave: Callable[[], None] = lambda: None, instead_of: str | None = None) -> None:  # noqa: ARG002
        self._engine.enter(self._engine.in_background)
        self._engine.let_answers_leave = let_answers_leave

    def stay(self) -> None:
        if self._engine.failure is not None:
            raise self._engine.failure
        self._engine.stays += 1
