"""Chains of ledger entries that one key signed."""

from __future__ import annotations

from rag_rec.forgetting.ledger.chain import EMPTY, make_entry, tip_after
from rag_rec.identity.signing import Signer
from rag_rec.store.records import LedgerEntry

SIGNER = Signer(b"s" * 32)
FOREIGN = Signer(b"f" * 32)


def chain(length: int, signer: Signer = SIGNER, word: str = "request") -> list[LedgerEntry]:
    """The first entries of a ledger."""
    tip, entries = EMPTY, list[LedgerEntry]()
    for number in range(length):
        entries.append(make_entry(tip, "erasure", {"request": f"{word}-{number}", "time": number}, signer))
        tip = tip_after(entries[-1])
    return entries


CHAIN = chain(6)
