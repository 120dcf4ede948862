"""Which ledger is the newest of those that are known: what has to be replayed on a restored store."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from rag_rec.clock import iso
from rag_rec.errors import BrokenLedger, ConfirmationRequired
from rag_rec.forgetting.ledger.chain import verify_chain
from rag_rec.identity.signing import Verifier
from rag_rec.store.records import LedgerEntry

Entries = Sequence[LedgerEntry]


def newest_ledger(own: Entries, known: Sequence[Entries], verifier: Verifier, *, own_suffices: bool) -> Entries:
    """The longest of several copies of one ledger.

    Args:
        own: the one in the backup.
        known: every other copy: from files, from the store that is replaced.
        verifier: of the system's signatures.
        own_suffices: whether the backup's own may be taken where no newer one is known, and what was forgotten after
            the backup may come back.

    Raises:
        BrokenLedger: a copy was changed or is another store's, or all are older than the backup.
        WrongKey: the newest was signed with another key.
        ConfirmationRequired: there is no other copy.
    """
    newest = max((own, *known), key=len)
    verify_chain(newest, verifier)
    for copy in (own, *known):
        if list(copy) != list(newest[: len(copy)]):
            raise BrokenLedger(
                "The ledgers that are known contradict each other: one of them is another store's, or was changed. "
                "Nothing was restored; `rag-rec ledger verify` checks the store's and the file's."
            )
    if not own_suffices:
        _demand_newer(own, known)
    return newest


def _demand_newer(own: Entries, known: Sequence[Entries]) -> None:
    if not known:
        raise ConfirmationRequired(
            "No ledger is known but the backup's own: people who were forgotten after the backup would come back. Give "
            "the newest copy with --ledger. If there is none, say so with --without-later-erasures."
        )
    if max(map(len, known)) < len(own):
        raise BrokenLedger(
            "The ledger is older than the backup, so that it is not the newest: nothing was restored. Give the newest "
            "copy with --ledger. If there is none, say so with --without-later-erasures."
        )


def written(entry: LedgerEntry) -> str:
    """When an entry was written: ISO 8601, UTC."""
    body = orjson.loads(entry.body)
    if "issued" in body:  # a receipt
        return str(body["issued"])
    return iso(body["time"])
