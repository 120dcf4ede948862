"""Takes a data folder whose disk is gone out of use, so that removals wait for it no more."""

from __future__ import annotations

from rag_rec.clock import now_ms
from rag_rec.errors import Busy, InvalidInput
from rag_rec.forgetting.ledger.chain import make_entry
from rag_rec.forgetting.receipts.conclusion import ReceiptIssuer
from rag_rec.forgetting.system import System
from rag_rec.presence.awaited import is_open
from rag_rec.store.records import LedgerEntry, LedgerTip, Place


def retire_place(system: System, place_id: str, reason: str) -> Place:
    """Take a place out of use, with a signed entry of the ledger. Receipts of requests that waited for it name it with
    the reason, and say OUT_OF_SCOPE of the files that cannot be looked at any more.

    Raises:
        InvalidInput: no reason is given.
        UnknownPlace: there is no place of this id in use.
        Busy: a process has it open: it is there.
    """
    if not reason.strip():
        raise InvalidInput("Say with --reason what became of the disk: the ledger keeps it.")
    if any(place.id == place_id and is_open(place) for place in system.store.places()):
        raise Busy("This place is open: stop its processes first. If they were killed just now, wait 15 seconds.")
    now = now_ms()

    def entry(tip: LedgerTip, place: Place) -> LedgerEntry:
        body = {"place": place.id, "host": place.host, "path": place.path, "epoch": place.epoch}
        return make_entry(tip, "retirement", {**body, "reason": reason.strip(), "time": now}, system.signer)

    retired = system.store.retire_place(place_id, now, reason.strip(), entry)
    ReceiptIssuer(system).copy_ledger()
    return retired
