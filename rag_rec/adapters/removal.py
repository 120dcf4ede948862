"""How forgotten people leave the adapters: the seam for ways of removal, and the end of adapters that are not in
use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rag_rec.adapters.folder import AdapterStore, InUse
from rag_rec.adapters.lineage import outdated, owing, unrecorded
from rag_rec.adapters.measured import is_approximate
from rag_rec.artifacts.destruction import destroy
from rag_rec.errors import CorruptIndex
from rag_rec.presence.awaited import adapters_elsewhere
from rag_rec.store.protocol import Store


class Removal(Protocol):
    """Makes an adapter without what was forgotten, and puts it to use in place of the one that saw it.

    Training again is exact: the adapter is the one of a system that never knew the person. A faster way may leave a
    trace; then ``exact`` is false, and what is left is measured (:mod:`rag_rec.adapters.measured`). What is to go is
    erased from the store by then: requests stand for it, and no way of removal may need it.
    """

    @property
    def name(self) -> str:
        """What the way is called."""

    @property
    def exact(self) -> bool:
        """Whether nothing is left."""

    def remove(self, requests: Sequence[str]) -> str:
        """Publish the adapter, record its lineage, put it to use, and destroy those that owe a request to go.

        Args:
            requests: ids of the requests that wait for the adapter in use.

        Returns:
            Its digest.

        Raises:
            Busy: a person was forgotten meanwhile, or another training is running.
            InvalidInput: this way does not lead to an adapter that may be used; nothing has changed.
        """


def waiting(compact: AdapterStore, store: Store) -> list[str]:
    """Ids of the requests that wait for the adapter in use, sorted. Raises ``CorruptIndex``."""
    used = compact.current()
    return sorted({debt.request_id for debt in store.debts() if used is not None and debt.adapter == used.adapter})


def destroy_unused(compact: AdapterStore, store: Store, place: str | None = None) -> list[str]:
    """Overwrite and remove the adapters that are not in use and saw, or may have seen, a forgotten person, and
    what is left of adapters whose writing was cut short. Then drop the debts of those that are gone.

    Of an adapter that came out of a removal that is not exact it is never sure that it has not: it exists only while it
    is in use.

    Nothing is destroyed as long as it is not known which one is in use. The debts of an adapter that another place
    holds stay: that one has to go there too.

    Args:
        compact: the adapters of this folder.
        store: knows their debts.
        place: the id of this folder, if it is a place.

    Returns:
        The digests of those destroyed.
    """
    debtors = owing(store)
    gone = _destroy(compact, store, debtors) if compact.adapters.is_dir() else []
    told = {each.adapter for each in store.measured_removals()}
    vanished = (debtors | told).difference(compact.adapter_digests())  # by a crash or a restore, which left no folder
    nowhere = {*gone, *vanished}
    if nowhere and (nowhere := nowhere - adapters_elsewhere(store, place)):
        store.drop_lineage(sorted(nowhere))
    return gone


def _destroy(compact: AdapterStore, store: Store, debtors: set[str]) -> list[str]:
    with compact.writing():
        try:
            used = compact.current() or InUse("")
        except CorruptIndex:
            return []
        doubtful = {name for name in unrecorded(store, compact) if outdated(store, compact, name)}
        doubtful |= {name for name in compact.adapter_digests() if is_approximate(compact.adapters / name)}
        gone = [name for name in compact.adapter_digests() if name in doubtful | debtors and name != used.adapter]
        for folder in (*(compact.adapters / name for name in gone), *compact.unfinished_adapters()):
            destroy(folder)
    return gone
