"""Publishes an adapter of any model: its folder, its manifest and the people that it learned from, none forgotten.

What was learned from people is written under the lock of the folder, after a look whether a person was forgotten since
they were read. A removal takes the same lock to sweep: either it finds what was written, or nothing is written. ::

    with publisher.writing(epoch):
        adapter = publisher.adapters.publish_adapter(write, base=base, epoch=epoch, settings={}, counts={})
    publisher.put_to_use(base, adapter, seen)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from rag_rec.adapters.checkpoint import Checkpoint
from rag_rec.adapters.folder import AdapterStore, InUse
from rag_rec.adapters.lineage import outdated, owing, unrecorded
from rag_rec.adapters.published import CompactFolder
from rag_rec.adapters.removal import destroy_unused
from rag_rec.errors import Busy, InvalidInput
from rag_rec.presence.awaited import adapters_elsewhere
from rag_rec.store.protocol import Store
from rag_rec.store.records import ChangeKind

Discard = Callable[[Collection[str], Collection[str]], object]
"""Removes what was measured of adapters: given are those that are gone, and those that there are."""


class Holder(Protocol):
    """The data folder as a place of the store."""

    @property
    def id(self) -> str:
        """The place's id."""

    def say(self) -> None:
        """Say which adapters the folder holds."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes the adapters of one data folder.

    Attributes:
        adapters: of the folder.
        store: keeps whom each adapter saw.
        place: the folder.
        discard: removes what was measured of adapters that are gone.
    """

    adapters: AdapterStore
    store: Store
    place: Holder
    discard: Discard

    @contextmanager
    def writing(self, epoch: int) -> Iterator[None]:
        """Hold the lock to write what was learned from people who were read at a change of the store.

        Raises:
            Busy: a person was forgotten since, or the lock stays taken. Checkpoints from before are destroyed.
        """
        with self.adapters.writing():
            if (removed := removed_at(self.store, epoch)) is not None:
                self.adapters.discard_training(removed)
                raise Busy("A person was forgotten while the adapter was trained: run the same command again.")
            yield

    def taken(self, found: Checkpoint | None) -> Checkpoint | None:
        """A checkpoint to go on from; one from before a removal is none, and all of that age are destroyed with it."""
        removed = None if found is None else removed_at(self.store, found.epoch)
        if removed is not None:
            self.adapters.discard_training(removed)
            return None
        return found

    def put_to_use(
        self, base: str, adapter: CompactFolder, seen: Mapping[int, int], measured: Mapping[str, str] | None = None
    ) -> None:
        """Record whom an adapter saw, and make it and a base that it fits the ones in use.

        The adapters that are not needed any more go, and those that know a forgotten person, be it this one.

        Args:
            base: digest of the base.
            adapter: as published.
            seen: how many interactions of each user, by number, it learned from.
            measured: of an adapter that was not trained without the forgotten, what was measured of each request.

        Raises:
            Busy: as :meth:`writing`.
        """
        try:
            with self.writing(adapter.manifest.epoch):  # no other process destroys the adapter between these
                self.place.say()  # before it can owe anything: what no place holds is taken to be gone
                self.store.put_lineage(adapter.digest, seen, adapter.manifest.epoch, measured)
                self.adapters.set_current(base, adapter.digest)
        finally:
            self._tidy()

    def _tidy(self) -> None:
        gone = self.adapters.prune(outdated=partial(forgotten_since, self.store))
        self.store.drop_lineage(sorted(set(gone) - adapters_elsewhere(self.store, self.place.id)))
        destroy_unused(self.adapters, self.store, self.place.id)
        self.discard(gone, self.adapters.adapter_digests())


def activate(store: Store, compact: AdapterStore, chosen: InUse, place: str | None = None) -> None:
    """Make a base, and an adapter that fits it, the ones in use. An adapter that was in use before is destroyed if it
    saw a forgotten person: it could never come back.

    Raises:
        InvalidInput: the adapter saw, or may have seen, a forgotten person; or as
            :meth:`rag_rec.adapters.folder.AdapterStore.set_current`.
        CorruptIndex: a file is missing or does not match its digest.
    """
    with compact.writing():
        if chosen.adapter is not None and saw_forgotten(store, compact, chosen.adapter):
            raise InvalidInput(
                "This adapter saw a forgotten person since: run `rag-rec adapter retrain`, or activate `none`."
            )
        compact.set_current(chosen.base, chosen.adapter)
    destroy_unused(compact, store, place)


def forgotten_since(store: Store, epoch: int) -> bool:
    """Whether anything of a person was removed from the store after a change."""
    return removed_at(store, epoch) is not None


def removed_at(store: Store, epoch: int) -> int | None:
    """The last change after another one that removed anything of a person; None where none did."""
    removals = (change.epoch for change in store.changes(epoch) if change.kind is ChangeKind.FORGET)
    return max(removals, default=None)


def saw_forgotten(store: Store, compact: AdapterStore, adapter: str) -> bool:
    """Whether an adapter saw, or may have seen, a person who was forgotten since."""
    doubtful = adapter in unrecorded(store, compact) and outdated(store, compact, adapter)
    return doubtful or adapter in owing(store)
