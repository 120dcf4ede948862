"""A small engine that keeps everything in dictionaries."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
from rag_rec.errors import InvalidInput, LegalHold, NotReady, PlanChanged, UnknownItem, UnknownRequest, UnknownUser
from rag_rec.explain.explainer import Explainer
from rag_rec.explain.records import Conditions, ExplainedRecommendation
from rag_rec.forgetting.audit.actor import current_actor
from rag_rec.forgetting.audit.trail import Deed
from rag_rec.forgetting.ledger import canonical
from rag_rec.forgetting.plan import LISTED, Plan
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.generators.condition import OFF, Condition
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.store.records import AppendResult, Hold, Selection, StoredInteraction, Suppression
from rag_rec.validation import check_interaction, check_item, check_user

COMPLETE = '{"revision": 1,  "signature": "s"}'
ADAPTER = {
    "layer": "adapter",
    "status": "PENDING",
    "why": "An adapter saw the person; `rag-rec adapter retrain` trains one that did not.",
    "until": "2100-01-01T00:00:00.000Z",
    "detail": {"waits_for": "old-adapter"},
}
OPEN = canonical.dumps(
    {
        **dict.fromkeys(("request", "subject", "pseudonym_key", "scope", "accepted", "issued", "deadline", "key"), "x"),
        **dict.fromkeys(("batch", "supersedes", "twin"), None),
        **{name: {} for name in ("times", "removed", "timings_ms")},
        "format": "rag-rec/receipt/1",
        "revision": 1,
        "state": "effective",
        "complete": False,
        "epochs": {"before": 1, "erasure": 2},
        "generation": {"before": None, "after": None},
        "layers": [ADAPTER],
        "ledger": {"sequence": 1, "previous": "x"},
        "signature": "x",
    }
)
"""Receipts, as far as the service looks at them."""


def _set(event: threading.Event) -> threading.Event:
    event.set()
    return event


@dataclass
class FakeEngine(Engine, Officer, Attendance):
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
        self.officer: Officer = self
        self.attendance: Attendance = self

    @property
    def term(self) -> int | None:
        return self.present_term

    def attend(self) -> bool:
        self.attended += 1
        return False

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
        self, request: RecommendationRequest, item_id: str | None = None, stopped: Callable[[], bool] = lambda: False
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
        self._pass()
        check_user(user)
        self.users[user.id] = user
        self.epoch += 1

    def put_item(self, item: Item) -> None:
        self._pass()
        check_item(item)
        self.items[item.id] = item
        self.epoch += 1

    def export(self, user_id: str) -> tuple[User, list[StoredInteraction]]:
        self._pass()
        return self._user(user_id), self._stored(user_id)

    def plan(self, request: ForgetRequest) -> Plan:
        self._pass()
        request.check()
        request.check_unconfirmed()
        return self._plan(request)

    def _plan(self, request: ForgetRequest) -> Plan:
        if request.named_again():
            raise InvalidInput("Somebody is named twice.")
        gone = self._meant(request)
        numbers = [each.number for each in self._stored(request.user_ids[0]) if each.interaction in gone]
        content = repr((sorted(request.user_ids), request.scope, gone))
        return Plan(
            plan=hashlib.sha256(content.encode()).hexdigest(),
            scope=request.scope,
            users=len(request.user_ids),
            interactions=len(gone),
            interaction_ids=() if request.selection is None else tuple(numbers[:LISTED]),
            index_files=1,
            profile_vectors=1,
            own_vectors=0,
            statistics=len(gone),
            caches="none",
            adapters=("a1",),
            held=tuple(self.held[user_id].reason for user_id in request.user_ids if user_id in self.held),
            held_at=tuple(place for place, user_id in enumerate(request.user_ids) if user_id in self.held),
            expected_ms=None,
        )

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        self._pass()
        request.check()
        request.check_confirmed()
        if request.plan in self.outcomes:
            return replace(self.outcomes[str(request.plan)], repeated=True)
        plan = self._plan(request)
        if plan.plan != request.plan:
            raise PlanChanged("What would be removed is not what the plan says.")
        if plan.held:
            raise LegalHold("Somebody may not be forgotten.")
        return self._carry_out(request, plan)

    def _carry_out(self, request: ForgetRequest, plan: Plan) -> ForgetOutcome:
        gone, records = self._meant(request), []
        self.epoch += 1
        for number, user_id in enumerate(request.user_ids):
            self.log[user_id] = [event for event in self.log.get(user_id, []) if event not in gone]
            if request.selection is None:
                del self.users[user_id]
                self.identities[user_id] = 0
            records.append(self._record(f"r{self.epoch}{number or ''}", user_id, plan))
        self.records.update({record.request_id: record for record in records})
        outcome = ForgetOutcome(
            request_id=records[0].batch_id or records[0].request_id,
            requests=tuple(record.request_id for record in records),
            state=self.state,
            scope=request.scope,
            epoch_before=self.epoch - 1,
            epoch_after=self.epoch,
            removed={"interactions": len(gone)},
            timings_ms={"accept": 1.5},
        )
        self.outcomes[plan.plan] = outcome
        return outcome

    def _record(self, request_id: str, user_id: str, plan: Plan) -> ForgetRecord:
        return ForgetRecord(
            request_id=request_id,
            batch_id=f"b{self.epoch}" if plan.users > 1 else None,
            subject=subject_of(user_id),
            plan=plan.plan,
            scope=plan.scope,
            state=self.state,
            user_number=17,
            epoch_before=self.epoch - 1,
            epoch_after=self.epoch,
            created=1_000,
            deadline=2_000_000,
            times={"hidden": 1_000, self.state.value: 3_500},
            removed={"interactions": plan.interactions},
            timings_ms={"accept": 1.5},
            receipt=COMPLETE if self.state is ForgetState.COMPLETE else OPEN,
        )

    def forget_records(self, request_id: str) -> list[ForgetRecord]:
        self._pass()
        found = [each for each in self.records.values() if request_id in (each.request_id, each.batch_id)]
        if not found:
            raise UnknownRequest("There is no forget request with this id.")
        return found

    def pending(self) -> list[ForgetRecord]:
        return [record for record in self.records.values() if record.state is not ForgetState.COMPLETE]

    def forget_requests(self, *, pending: bool = False, newest: int | None = None) -> list[ForgetRecord]:
        found = self.pending() if pending else list(self.records.values())
        return found if newest is None else found[-newest:]

    def find(self, user_id: str) -> list[ForgetRecord]:
        return [record for record in self.records.values() if record.subject == subject_of(user_id)]

    def receipt(self, request_id: str) -> str:
        receipt = self.forget_records(request_id)[0].receipt
        if receipt is None:
            raise NotReady("The request has no receipt yet.")
        return receipt

    def public_key(self) -> str:
        return "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"

    def prove(self, request_id: str, sample: int | None = None, progress: Progress = SILENT) -> Mapping[str, Any]:  # noqa: ARG002
        self.forget_records(request_id)
        return {"equal": True, "rows": [{"check": "statistics", "compared": 3, "different": 0}]}

    def audit(self, after: int = 0, limit: int | None = None) -> list[Deed]:
        self._pass()
        subject, actor = subject_of("ada"), current_actor().document()
        return [Deed(n, 5_000 + n, "forget", actor, f"r{n}", subject) for n in range(after + 1, 4)][:limit]

    def consent(self, user_id: str) -> Suppression:
        if user_id not in self.identities:
            raise UnknownUser("This person has not been forgotten.")
        self.identities[user_id] += 1
        subject = subject_of(user_id)
        return Suppression(subject, subject, self.identities[user_id] + 1, 5_000)

    def hold(self, user_id: str, reason: str) -> Hold:
        self._user(user_id)
        self.held[user_id] = Hold(subject_of(user_id), reason, 4_000)
        return self.held[user_id]

    def release(self, user_id: str) -> None:
        if self.held.pop(user_id, None) is None:
            raise UnknownUser("There is no legal hold on this user.")

    def holds(self) -> list[Hold]:
        return list(self.held.values())

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

    def join(self, let_answers_leave: Callable[[], None] = lambda: None, instead_of: str | None = None) -> None:  # noqa: ARG002
        self._pass(self.in_background)
        self.let_answers_leave = let_answers_leave

    def warm_up(self) -> None:
        self.warming.wait(30)
        if self.warm_up_failure is not None:
            raise self.warm_up_failure
        self.warm.set()

    def stay(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.stays += 1

    def refresh(self) -> bool:
        self._pass(self.in_background)
        if self.next_generation is None:
            return False
        self.generation, self.next_generation = self.next_generation, None
        return True

    def close(self) -> None:
        self.closed = True

    def _stored(self, user_id: str) -> list[StoredInteraction]:
        return [StoredInteraction(number, event) for number, event in enumerate(self.log.get(user_id, []))]

    def _meant(self, request: ForgetRequest) -> list[Interaction]:
        selection = request.selection or Selection()
        for user_id in request.user_ids:
            self._user(user_id)
        stored = [each for user_id in request.user_ids for each in self._stored(user_id)]
        return [each.interaction for each in stored if _is_meant(each, selection)]

    def _user(self, user_id: str) -> User:
        if user_id not in self.users:
            raise UnknownUser("There is no user with this id.")
        return self.users[user_id]

    def _pass(self, said: threading.Semaphore | None = None) -> None:
        (said or self.entered).release()
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.failure is not None:
            raise self.failure


def _is_meant(stored: StoredInteraction, selection: Selection) -> bool:
    event = stored.interaction
    return (
        (not selection.numbers or stored.number in selection.numbers)
        and (not selection.item_ids or event.item_id in selection.item_ids)
        and (selection.before is None or event.time < selection.before)
        and (selection.after is None or event.time >= selection.after)
    )


def subject_of(user_id: str) -> str:
    """A stand-in for the pseudonym of a person."""
    return hashlib.sha256(user_id.encode()).hexdigest()
