"""Cleans a data folder of everybody who was forgotten while no process had it open, and reports what was looked at.

A removal cleans the folder of the process that carries it out. Every other folder of the system cleans itself: before
it serves, and at every refresh of a service. Whom to look for is in the change log, which keeps the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.lineage import adapter_in_use, outdated, unrecorded
from rag_rec.adapters.removal import destroy_unused
from rag_rec.errors import CorruptIndex, Unfinished
from rag_rec.index.erasing import erase_from_files, left_in_files
from rag_rec.index.signed import generations_of
from rag_rec.places.derived import discard_derived
from rag_rec.places.occupation import Occupation
from rag_rec.places.temporary_layer import partial_files, sweep
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store

log = structlog.get_logger()


class Cleaner:
    """Keeps one folder clean.

    Args:
        settings: name the folder.
        store: knows who was forgotten.
        place: the folder, open.
    """

    def __init__(self, settings: Settings, store: Store, place: Occupation) -> None:
        self._settings = settings
        self._store = store
        self._place = place
        self._generations = generations_of(settings)
        self._compact = AdapterStore(settings.compact)

    def clean(self, *, thorough: bool = False) -> bool:
        """Remove what was forgotten since the folder was looked at last, look by other means, and report.

        Args:
            thorough: begin with the oldest file, whatever was reported: the folder may have been put back to an
                earlier state.

        Returns:
            Whether there was anything to look at.

        Raises:
            Unfinished: something of a forgotten person is left.
            CorruptIndex: the generation in use is damaged, and may hold a forgotten person.
            Busy: another process holds a lock for too long.
        """
        target = self._store.erasure_epoch()
        since = self._oldest() if thorough else self._place.verified
        if not thorough and since >= target:
            return False
        erased = self._store.removals(max(since, 0))
        if erased is None:
            self._discard()
            erased = {}
        self._remove(erased, target)
        left = self._left(erased, target)
        if left:
            raise Unfinished(
                f"This data folder still holds {len(left)} files of a forgotten person, or that may be: it is "
                "tried again. Look at the log, and at the disk."
            )
        self._place.say(target)
        return True

    def _oldest(self) -> int:
        """The epoch of the oldest generation or build; what cannot be told counts as the oldest there can be."""
        folders = [self._generations.root / name for name in self._generations.names()] + self._generations.building()
        return min((self._made(folder) for folder in folders), default=self._store.erasure_epoch())

    def _made(self, folder: Path) -> int:
        try:
            return self._generations.epoch_of(folder)
        except CorruptIndex:
            return -1

    def _discard(self) -> None:
        """The store was replaced by a backup since these files were made: it is not known any more who is in them."""
        log.warning("files_of_replaced_store_destroyed", place=self._place.id)
        with self._generations.writing():
            discard_derived(self._settings, self._generations)

    def _remove(self, erased: Mapping[int, int], target: int) -> None:
        if erased and self._generations.root.is_dir():
            erase_from_files(self._generations, erased)
        self._withdraw_unknown()
        sweep(self._generations, self._compact, target)
        destroy_unused(self._compact, self._store, self._place.id)

    def _withdraw_unknown(self) -> None:
        """Put an adapter from before a removal out of use where it is not on record whom it saw."""
        used = adapter_in_use(self._compact)
        unknown = [name for name in unrecorded(self._store, self._compact) if name == used]
        if any(outdated(self._store, self._compact, name) for name in unknown):
            with self._compact.writing():
                current = self._compact.current()
                if current is not None and current.adapter == used:
                    log.warning("unrecorded_adapter_withdrawn", adapter=used)
                    self._compact.set_current(current.base)
            destroy_unused(self._compact, self._store, self._place.id)

    def _left(self, erased: Mapping[int, int], target: int) -> list[Path]:
        """What a removal should have taken and did not, seen by other means than those it was taken by."""
        unknown = [
            name for name in unrecorded(self._store, self._compact) if outdated(self._store, self._compact, name)
        ]
        left = [self._compact.adapters / name for name in unknown] + self._compact.training_from_before(target)
        if self._generations.root.is_dir():
            left += [*left_in_files(self._generations, erased), *partial_files(self._generations)]
        return left
