"""The trail of what privacy officers and operators did: entries of the signed ledger.

A removal, a consent and a hold are entries anyway, and say by whom. What changes nothing that a restore would have to
repeat (an export, a proof, a restore) gets an entry of its own, of the kind ``action``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson

from rag_rec.clock import now_ms
from rag_rec.forgetting.audit.actor import current_actor
from rag_rec.forgetting.ledger.chain import make_entry
from rag_rec.forgetting.receipts.conclusion import ReceiptIssuer
from rag_rec.forgetting.system import System
from rag_rec.layers.records import ForgetRecord
from rag_rec.store.protocol import Store
from rag_rec.store.records import LedgerEntry, LedgerTip

ACTION: Final = "action"
_ACTIONS: Final = {"erasure": "forget", "consent": "consent", "hold": "hold", "release": "release"}
"""What was done, by the kind of the entry that says so."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What an actor did.

    Attributes:
        sequence: number of the entry in the ledger.
        time: milliseconds since 1970 UTC.
        action: such as ``forget`` or ``export``.
        actor: see :meth:`rag_rec.forgetting.audit.actor.Actor.document`; None in entries of earlier versions.
        request: id of the forget request, where there is one.
        subject: pseudonym of the person, where there is one.
    """

    sequence: int
    time: int
    action: str
    actor: dict[str, Any] | None
    request: str | None
    subject: str | None


def note(system: System, action: str, *, subject: str | None = None, request: str | None = None) -> None:
    """Write down what the current actor does.

    Args:
        system: whose ledger.
        action: what.
        subject: pseudonym of the person.
        request: id of the forget request.
    """
    body = {
        "action": action,
        "subject": subject,
        "request": request,
        "by": current_actor().document(),
        "time": now_ms(),
    }

    def compose(tip: LedgerTip) -> tuple[Sequence[LedgerEntry], Sequence[ForgetRecord]]:
        return [make_entry(tip, ACTION, body, system.signer)], []

    system.store.extend_ledger(compose)
    ReceiptIssuer(system).copy_ledger()


def deeds(store: Store, after: int = 0, limit: int | None = None) -> list[Deed]:
    """What was done, oldest first: the first ``limit`` entries whose number is above ``after``."""
    return list(islice(_deeds(store.ledger(after)), limit))


def _deeds(entries: Sequence[LedgerEntry]) -> Iterator[Deed]:
    for entry in entries:
        if entry.kind == ACTION or entry.kind in _ACTIONS:
            body = orjson.loads(entry.body)
            yield Deed(
                sequence=entry.sequence,
                time=body["time"],
                action=_ACTIONS.get(entry.kind) or body["action"],
                actor=body.get("by"),
                request=body.get("request"),
                subject=body.get("subject"),
            )
