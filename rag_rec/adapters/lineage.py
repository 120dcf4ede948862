"""Whom an adapter saw. The store keeps it, so that a person is found in it, and taken out of it, as elsewhere.

A training writes the lineage before its adapter is put to use. When a person is forgotten, every adapter with that
person in its lineage comes to owe it to the request to go: a *debt*.
"""

from __future__ import annotations

from rag_rec.adapters.folder import AdapterStore
from rag_rec.errors import Busy, CorruptIndex
from rag_rec.store.protocol import Store


def adapters_that_saw(store: Store, compact: AdapterStore, user_number: int) -> list[str]:
    """Digests of the adapters on disk that saw a user, sorted."""
    return [adapter for adapter in store.adapters_of(user_number) if (compact.adapters / adapter).is_dir()]


def owing(store: Store) -> set[str]:
    """Digests of the adapters that saw a forgotten person."""
    return {debt.adapter for debt in store.debts()}


def unrecorded(store: Store, compact: AdapterStore) -> list[str]:
    """Adapters on disk of which the store does not know whom they saw. Where there are none, a few short queries."""
    without = [adapter for adapter in compact.adapter_digests() if not store.has_lineage(adapter)]
    known = owing(store) if without else set()  # a lineage is empty once everybody in it has been forgotten
    return [adapter for adapter in without if adapter not in known]


def outdated(store: Store, compact: AdapterStore, adapter: str) -> bool:
    """Whether a person was forgotten since the people of an adapter were read."""
    return compact.epoch_of_adapter(adapter) < store.erasure_epoch()


def adapter_in_use(compact: AdapterStore) -> str | None:
    """Digest of the adapter in use; None where there is none, or it is unknown."""
    try:
        used = compact.current()
    except CorruptIndex:
        return None
    return None if used is None else used.adapter


def ensure_lineage(store: Store, compact: AdapterStore) -> None:
    """Give the adapters on disk that lack it a lineage, so that a request finds all that saw the person.

    An earlier version made them, or the store was restored from before them: everybody in the store is taken to have
    been seen. One that is not in use and older than a removal stays without: it will be destroyed.

    Raises:
        Busy: a person was forgotten meanwhile.
    """
    for adapter in unrecorded(store, compact):
        if adapter == adapter_in_use(compact) or not outdated(store, compact, adapter):
            _take_everybody(store, adapter)


def _take_everybody(store: Store, adapter: str) -> None:
    epoch = store.epoch()
    everybody = {user: len(history) for user, history in store.histories()}
    try:
        store.put_lineage(adapter, everybody, epoch)
    except Busy:
        raise Busy("Another request was accepted at the same time; try again.") from None
