"""Acceptance: what was agreed to is looked up again, and becomes the one transaction that puts it in force."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from rag_rec.clock import now_ms
from rag_rec.errors import LegalHold, PlanChanged
from rag_rec.forgetting.audit.actor import Actor
from rag_rec.forgetting.ledger.chain import make_entry, tip_after
from rag_rec.forgetting.plan import Planner, check_met
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.forgetting.system import System
from rag_rec.layers.records import Erasure, ForgetRecord, Target
from rag_rec.store.records import LedgerEntry, LedgerTip

DAY_MS: Final = 86_400_000


class Acceptance:
    """Accepts requests of one system."""

    def __init__(self, system: System, planner: Planner) -> None:
        self._system = system
        self._planner = planner

    def accept(self, request: ForgetRequest) -> list[ForgetRecord]:
        """Put a confirmed request in force: one record for each person.

        Raises:
            UnknownUser: there is no such user (any more).
            PlanChanged: the quoted plan is not what would be removed now.
            InvalidInput: the selection meets nothing.
            LegalHold: a person may not be forgotten.
        """
        targets = self._planner.targets(request)
        if self._planner.hash(request, targets) != request.plan:
            raise PlanChanged("What would be removed is not what the plan says: ask for a dry run and quote its plan.")
        check_met(request, targets)
        self._check_held(request, targets)
        erasures = self._erasures(request, targets)
        digests = {erasure.request_id: list(erasure.digests) for erasure in erasures}

        def entries(tip: LedgerTip, records: Sequence[ForgetRecord]) -> list[LedgerEntry]:
            return self._chained(tip, [_body(record, digests[record.request_id], request.actor) for record in records])

        with ExitStack() as prepared:
            for layer in self._system.layers:
                prepared.enter_context(layer.prepare(targets))
            return self._system.store.accept(erasures, entries)

    def _check_held(self, request: ForgetRequest, targets: Sequence[Target]) -> None:
        """Say where in a batch people on hold are named. The transaction looks for itself whether there are any."""
        held = self._planner.held(targets) if request.is_batch else {}
        if held:
            raise LegalHold(
                f"{request.at(list(held), 'name')} a person who may not be forgotten: "
                f"{'; '.join(dict.fromkeys(held.values()))}. Nothing was removed: lift the hold first, or leave them "
                "out of the batch."
            )

    def _erasures(self, request: ForgetRequest, targets: Sequence[Target]) -> list[Erasure]:
        now, batch = now_ms(), secrets.token_hex(16) if len(targets) > 1 else None
        return [
            Erasure(
                request_id=secrets.token_hex(16),
                batch_id=batch,
                subject=target.subject,
                plan=str(request.plan),
                user_number=target.number,
                interactions=None if request.selection is None else target.interactions,
                digests=target.digests,
                created=now,
                deadline=now + self._system.settings.forget_days * DAY_MS,
            )
            for target in targets
        ]

    def _chained(self, tip: LedgerTip, bodies: Sequence[Mapping[str, Any]]) -> list[LedgerEntry]:
        entries: list[LedgerEntry] = []
        for body in bodies:
            entry = make_entry(tip, "erasure", body, self._system.signer)
            entries.append(entry)
            tip = tip_after(entry)
        return entries


def _body(record: ForgetRecord, digests: list[str], actor: Actor) -> dict[str, Any]:
    return {
        "request": record.request_id,
        "batch": record.batch_id,
        "subject": record.subject,
        "plan": record.plan,
        "scope": record.scope,
        "interactions": digests,
        "epoch": record.epoch_after,
        "time": record.created,
        "by": actor.document(),
    }
