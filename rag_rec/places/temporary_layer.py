"""Temporary and partial files: what an interrupted writer left, and checkpoints of an unfinished training."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rag_rec.adapters.folder import AdapterStore
from rag_rec.artifacts.destruction import remove
from rag_rec.index.generation import Generations
from rag_rec.layers.finding import Finding, LayerName
from rag_rec.layers.protocol import QuietLayer, found
from rag_rec.layers.records import ForgetState, Group, deadline_of, erased_at
from rag_rec.presence.elsewhere import in_every_place
from rag_rec.store.protocol import Store

PARTIAL: Final = "*.rewritten"
"""Names of files that an interrupted rewriting leaves."""


def partial_files(generations: Generations) -> list[Path]:
    """Files that an interrupted rewriting left."""
    return sorted(generations.root.rglob(PARTIAL))


def sweep(generations: Generations, compact: AdapterStore, erased: int) -> None:
    """Overwrite and remove partial files, and checkpoints of trainings from before an erasure. Such a training will be
    refused at its end.

    Args:
        generations: of the folder.
        compact: of the folder.
        erased: the erasure epoch.
    """
    compact.discard_training(erased)
    if not generations.root.is_dir():
        return
    with generations.writing():
        for path in partial_files(generations):
            with suppress(FileNotFoundError):
                remove(path, below=generations.root)


class TemporaryLayer(QuietLayer):
    """Overwrites and removes partial files and training checkpoints.

    Args:
        generations: of this folder.
        compact: of this folder.
        store: knows the other folders.
        place: the id of this folder, if it is a place.
    """

    name = LayerName.TEMPORARY
    state = ForgetState.ERASED

    def __init__(self, generations: Generations, compact: AdapterStore, store: Store, place: str | None) -> None:
        self._generations = generations
        self._compact = compact
        self._store = store
        self._place = place

    def remove(self, group: Group) -> None:
        """Sweep. A training from before the erasure loses its checkpoints, and will be refused at its end."""
        sweep(self._generations, self._compact, erased_at(group))

    def look(self, group: Group) -> Sequence[Finding]:
        """No partial file and no checkpoint from before the erasure is left, here or in another place."""
        left = [*partial_files(self._generations), *self._compact.training_from_before(erased_at(group))]
        proof = "No partial file and no checkpoint of a training from before the erasure is left."
        rest = "A partial file or a checkpoint of a training from before the erasure is left."
        finding = found(self.name, not left, proof, rest, deadline_of(group), files=len(left))
        return [in_every_place(finding, group, self._store.places(), self._place)] * len(group)
