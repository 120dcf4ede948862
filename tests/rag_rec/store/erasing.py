"""Makes erasures and ledger entries as the forget protocol would; signatures are nobody's business here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from rag_rec.layers.records import Erasure, ForgetRecord
from rag_rec.store.protocol import Store
from rag_rec.store.records import LedgerEntry, LedgerTip, Suppression
from tests.rag_rec.store.reference_privacy import PSEUDONYMS


def erasure_of(
    store: Store,
    user_id: str,
    numbers: Sequence[int] | None = None,
    request_id: str = "r1",
    batch_id: str | None = None,
) -> Erasure:
    """An erasure of a user, or of some of their interactions."""
    found = store.user(user_id)
    assert found is not None
    rows = [] if numbers is None else store.interactions(found[0], numbers)
    return Erasure(
        request_id=request_id,
        batch_id=batch_id,
        subject=PSEUDONYMS.user(user_id),
        plan=f"plan of {request_id}",
        user_number=found[0],
        interactions=numbers,
        digests=[PSEUDONYMS.interaction(row.interaction) for row in rows],
        created=1000,
        deadline=2000,
    )


def entry_after(tip: LedgerTip, kind: str, body: str) -> LedgerEntry:
    """An entry that follows the tip."""
    digest = hashlib.sha256(f"{tip.sequence}{tip.digest}{kind}{body}".encode()).hexdigest()
    return LedgerEntry(tip.sequence + 1, kind, body, tip.digest, digest, "signed")


def chained(tip: LedgerTip, records: Sequence[ForgetRecord]) -> list[LedgerEntry]:
    """One entry for each record."""
    entries: list[LedgerEntry] = []
    for record in records:
        entries.append(entry_after(tip, "erasure", record.request_id))
        tip = LedgerTip(entries[-1].sequence, entries[-1].digest)
    return entries


def consented(tip: LedgerTip, identity: Suppression) -> LedgerEntry:
    """The entry of a consent."""
    return entry_after(tip, "consent", f"{identity.identity} from {identity.consented}")


def forget(store: Store, user_id: str, numbers: list[int] | None = None, request_id: str = "r1") -> ForgetRecord:
    """Accept one request."""
    return store.accept([erasure_of(store, user_id, numbers, request_id)], chained)[0]


def numbers_of(store: Store, user_number: int) -> list[int]:
    """A user's interactions by (time, number)."""
    numbers: list[int] = store.history(user_number)["interaction"].tolist()
    return numbers


def tip_of(entries: list[LedgerEntry]) -> LedgerTip:
    """The end of a ledger that is not empty."""
    return LedgerTip(entries[-1].sequence, entries[-1].digest)
