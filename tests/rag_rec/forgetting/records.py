"""Accepts a request and issues its receipt in the store alone: no index, no steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag_rec.domain import Interaction, Item
from rag_rec.forgetting.ledger.chain import make_entry, tip_after
from rag_rec.forgetting.receipts.document import Facts, read_receipt, write_receipt
from rag_rec.home.keys import open_pseudonyms, open_signer
from rag_rec.home.opening import store_of
from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.records import Erasure, ForgetRecord, ForgetState
from rag_rec.settings import Settings
from rag_rec.store.records import LedgerEntry, LedgerTip

FINDINGS = [Finding(layer, Status.PROVEN, f"{layer} was looked at.") for layer in LayerName]


def accepted(settings: Settings, user_id: str) -> ForgetRecord:
    """Fill the store with one interaction of a person, and accept that the person is forgotten."""
    names, signer = open_pseudonyms(settings), open_signer(settings)
    row = Interaction(user_id, "item-1", 5, "like")

    def entries(tip: LedgerTip, records: Sequence[ForgetRecord]) -> list[LedgerEntry]:
        written: list[LedgerEntry] = []
        for record in records:
            written.append(make_entry(tip, "erasure", {"request": record.request_id}, signer))
            tip = tip_after(written[-1])
        return written

    store = store_of(settings)
    try:
        store.put_items([Item("item-1", "one")])
        store.append([row])
        found = store.user(user_id)
        assert found is not None
        digests = [names.interaction(row)]
        erasure = Erasure(f"of-{user_id}", None, names.user(user_id), "plan", found[0], None, digests, 1000, 2000)
        return store.accept([erasure], entries)[0]
    finally:
        store.close()


def issued(settings: Settings, record: ForgetRecord, findings: Sequence[Finding] = FINDINGS) -> str:
    """Issue a receipt with these findings."""
    names, signer = open_pseudonyms(settings), open_signer(settings)
    state = ForgetState.COMPLETE if findings is FINDINGS else ForgetState.EFFECTIVE
    facts = Facts(replace(record, state=state), findings, None, None, 1, None, None, 3000)
    receipts: list[str] = []

    def compose(tip: LedgerTip) -> tuple[list[LedgerEntry], list[ForgetRecord]]:
        receipts.append(write_receipt(facts, tip, names.key_id, signer))
        entry = make_entry(tip, "receipt", read_receipt(receipts[-1]), signer)
        return [entry], [replace(facts.record, receipt=receipts[-1])]

    store = store_of(settings)
    try:
        store.extend_ledger(compose)
    finally:
        store.close()
    return receipts[-1]
