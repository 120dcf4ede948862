"""Whether the ledger of a store is sound, and its copy the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rag_rec.errors import BrokenLedger
from rag_rec.forgetting.ledger.chain import verify_chain
from rag_rec.home.keys import existing_signer
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import LedgerEntry


def verified(store: Store, settings: Settings) -> list[LedgerEntry]:
    """All entries of the store's ledger, after its chain and every signature have been checked.

    Raises:
        BrokenLedger: the ledger is not sound.
        WrongKey: the signing key is missing, or is not the one that signed it.
    """
    entries = store.ledger()
    if entries:  # a system that has signed nothing may have no key yet
        verify_chain(entries, existing_signer(settings).verifier)
    return entries


def compare(entries: Sequence[LedgerEntry], copied: Sequence[LedgerEntry], path: Path) -> None:
    """Hold every entry of a copy against the store's, which were verified.

    Args:
        entries: of the store. Read them after the copy: what is accepted meanwhile is in the store first.
        copied: of the copy.
        path: where the copy is.

    Raises:
        BrokenLedger: they differ, or one of them is longer; the message says which, and what to do.
    """
    shared = min(len(entries), len(copied))
    differing = next((ours for ours, theirs in zip(entries, copied, strict=False) if ours != theirs), None)
    if differing:
        raise BrokenLedger(
            f"The ledger in {path} differs from the store's, which is sound, from entry {differing.sequence} on: "
            "the file was changed or is foreign. Move it away as evidence, and write a new one with `rag-rec ledger "
            "export`."
        )
    if len(copied) > shared:
        raise BrokenLedger(
            f"The store's ledger lacks {len(copied) - shared} entries that {path} has: the store was cut or "
            "restored. Restore it with `rag-rec restore`, which replays them."
        )
    if len(entries) > shared:
        raise BrokenLedger(
            f"{path} lacks the newest {len(entries) - shared} entries of the store's ledger: "
            "`rag-rec forget resume` or `rag-rec ledger export` adds them."
        )
