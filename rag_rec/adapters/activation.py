"""Puts a base and an adapter to use, unless the adapter saw somebody who was forgotten."""

from __future__ import annotations

from rag_rec.adapters.folder import CompactStore, InUse
from rag_rec.adapters.lineage import outdated, owing, unrecorded
from rag_rec.adapters.removal import destroy_unused
from rag_rec.errors import InvalidInput
from rag_rec.store.protocol import Store


def put_to_use(store: Store, compact: CompactStore, chosen: InUse, place: str | None = None) -> None:
    """Make a base, and an adapter that fits it, the ones in use. An adapter that was in use before is destroyed if it
    saw somebody who was forgotten: it could never come back.

    Raises:
        InvalidInput: the adapter saw, or may have seen, somebody who was forgotten; or as
            :meth:`rag_rec.adapters.folder.CompactStore.set_current`.
        CorruptIndex: a file is missing or does not match its digest.
    """
    with compact.writing():
        if chosen.adapter is not None and _saw_forgotten(store, compact, chosen.adapter):
            raise InvalidInput(
                "This adapter saw somebody who was forgotten since: run `rag-rec adapter retrain`, or activate `none`."
            )
        compact.set_current(chosen.base, chosen.adapter)
    destroy_unused(compact, store, place)


def _saw_forgotten(store: Store, compact: CompactStore, adapter: str) -> bool:
    doubtful = adapter in unrecorded(store, compact) and outdated(store, compact, adapter)
    return doubtful or adapter in owing(store)
