"""A privacy officer who knows what a small engine keeps in dictionaries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rag_rec.domain import (
    Interaction,
    User,
)
from rag_rec.engine.officer import Officer
from rag_rec.errors import InvalidInput, LegalHold, NotReady, PlanChanged, UnknownRequest, UnknownUser
from rag_rec.forgetting.audit.actor import current_actor
from rag_rec.forgetting.audit.trail import Deed
from rag_rec.forgetting.ledger import canonical
from rag_rec.forgetting.plan import LISTED, Plan
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.store.records import Hold, Selection, StoredInteraction, Suppression

if TYPE_CHECKING:
    from tests.serving.fake_engine import FakeEngine

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


class FakeOfficer(Officer):
    """Forgets at once."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    def export(self, user_id: str) -> tuple[User, list[StoredInteraction]]:
        self._engine.enter()
        return self._engine.user_of(user_id), self._engine.stored_of(user_id)

    def plan(self, request: ForgetRequest) -> Plan:
        self._engine.enter()
        request.check()
        request.check_unconfirmed()
        return self._plan(request)

    def _plan(self, request: ForgetRequest) -> Plan:
        if request.named_again():
            raise InvalidInput("Somebody is named twice.")
        gone = self._meant(request)
        numbers = [each.number for each in self._engine.stored_of(request.user_ids[0]) if each.interaction in gone]
        content = repr((sorted(request.user_ids), request.scope, gone))
        held = self._engine.held
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
            held=tuple(
                self._engine.held[user_id].reason for user_id in request.user_ids if user_id in self._engine.held
            ),
            held_at=tuple(place for place, user_id in enumerate(request.user_ids) if user_id in held),
            expected_ms=None,
        )

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        self._engine.enter()
        request.check()
        request.check_confirmed()
        if request.plan in self._engine.outcomes:
            return replace(self._engine.outcomes[str(request.plan)], repeated=True)
        plan = self._plan(request)
        if plan.plan != request.plan:
            raise PlanChanged("What would be removed is not what the plan says.")
        if plan.held:
            raise LegalHold("Somebody may not be forgotten.")
        return self._carry_out(request, plan)

    def _carry_out(self, request: ForgetRequest, plan: Plan) -> ForgetOutcome:
        gone, records = self._meant(request), []
        self._engine.epoch += 1
        for number, user_id in enumerate(request.user_ids):
            self._engine.log[user_id] = [event for event in self._engine.log.get(user_id, []) if event not in gone]
            if request.selection is None:
                del self._engine.users[user_id]
                self._engine.identities[user_id] = 0
            records.append(self._record(f"r{self._engine.epoch}{number or ''}", user_id, plan))
        self._engine.records.update({record.request_id: record for record in records})
        outcome = ForgetOutcome(
            request_id=records[0].batch_id or records[0].request_id,
            requests=tuple(record.request_id for record in records),
            state=self._engine.state,
            scope=request.scope,
            epoch_before=self._engine.epoch - 1,
            epoch_after=self._engine.epoch,
            removed={"interactions": len(gone)},
            timings_ms={"accept": 1.5},
        )
        self._engine.outcomes[plan.plan] = outcome
        return outcome

    def _record(self, request_id: str, user_id: str, plan: Plan) -> ForgetRecord:
        return ForgetRecord(
            request_id=request_id,
            batch_id=f"b{self._engine.epoch}" if plan.users > 1 else None,
            subject=subject_of(user_id),
            plan=plan.plan,
            scope=plan.scope,
            state=self._engine.state,
            user_number=17,
            epoch_before=self._engine.epoch - 1,
            epoch_after=self._engine.epoch,
            created=1_000,
            deadline=2_000_000,
            times={"hidden": 1_000, self._engine.state.value: 3_500},
            removed={"interactions": plan.interactions},
            timings_ms={"accept": 1.5},
            receipt=COMPLETE if self._engine.state is ForgetState.COMPLETE else OPEN,
        )

    def forget_records(self, request_id: str) -> list[ForgetRecord]:
        self._engine.enter()
        found = [each for each in self._engine.records.values() if request_id in (each.request_id, each.batch_id)]
        if not found:
            raise UnknownRequest("There is no forget request with this id.")
        return found

    def pending(self) -> list[ForgetRecord]:
        return [record for record in self._engine.records.values() if record.state is not ForgetState.COMPLETE]

    def forget_requests(self, *, pending: bool = False, newest: int | None = None) -> list[ForgetRecord]:
        found = self.pending() if pending else list(self._engine.records.values())
        return found if newest is None else found[-newest:]

    def find(self, user_id: str) -> list[ForgetRecord]:
        return [record for record in self._engine.records.values() if record.subject == subject_of(user_id)]

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
        self._engine.enter()
        subject, actor = subject_of("ada"), current_actor().document()
        return [Deed(n, 5_000 + n, "forget", actor, f"r{n}", subject) for n in range(after + 1, 4)][:limit]

    def consent(self, user_id: str) -> Suppression:
        if user_id not in self._engine.identities:
            raise UnknownUser("This person has not been forgotten.")
        self._engine.identities[user_id] += 1
        subject = subject_of(user_id)
        return Suppression(subject, subject, self._engine.identities[user_id] + 1, 5_000)

    def hold(self, user_id: str, reason: str) -> Hold:
        self._engine.user_of(user_id)
        self._engine.held[user_id] = Hold(subject_of(user_id), reason, 4_000)
        return self._engine.held[user_id]

    def release(self, user_id: str) -> None:
        if self._engine.held.pop(user_id, None) is None:
            raise UnknownUser("There is no legal hold on this user.")

    def holds(self) -> list[Hold]:
        return list(self._engine.held.values())

    def _meant(self, request: ForgetRequest) -> list[Interaction]:
        selection = request.selection or Selection()
        for user_id in request.user_ids:
            self._engine.user_of(user_id)
        stored = [each for user_id in request.user_ids for each in self._engine.stored_of(user_id)]
        return [each.interaction for each in stored if _is_meant(each, selection)]


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
