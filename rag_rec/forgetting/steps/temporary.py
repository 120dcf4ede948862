"""Temporary and partial files: what an interrupted writer left, and checkpoints of an unfinished training."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rag_rec.adapters.folder import CompactStore
from rag_rec.adapters.removal import destroy_unused
from rag_rec.artifacts.destruction import remove
from rag_rec.forgetting.steps.elsewhere import in_every_place
from rag_rec.forgetting.steps.protocol import Group, deadline_of, erased_at, found
from rag_rec.forgetting.system import System
from rag_rec.index.generation import Generations
from rag_rec.layers.finding import Finding, Layer
from rag_rec.store.protocol import Store

PARTIAL: Final = "*.rewritten"
"""Names of files that an interrupted rewriting leaves."""


def partial_files(generations: Generations) -> list[Path]:
    """Files that an interrupted rewriting left."""
    return sorted(generations.root.rglob(PARTIAL))


def sweep(generations: Generations, compact: CompactStore, store: Store, erased: int, place: str | None) -> None:
    """Overwrite and remove partial files, checkpoints of trainings from before an erasure, and adapters that are
    not in use. A training from before the erasure will be refused at its end.

    Args:
        generations: of the folder.
        compact: of the folder.
        store: knows whom adapters saw.
        erased: the erasure epoch.
        place: the folder's id, if it is a place.
    """
    compact.discard_training(erased)
    destroy_unused(compact, store, place)
    if not generations.root.is_dir():
        return
    with generations.writing():
        for path in partial_files(generations):
            with suppress(FileNotFoundError):
                remove(path, below=generations.root)


class SweepTemporary:
    """Overwrites and removes partial files, training checkpoints, and adapters that nobody uses.

    What is left of adapters is a layer of its own (:mod:`rag_rec.adapters.finding`).
    """

    name = "temporary"

    def __init__(self, system: System) -> None:
        self._system = system

    def act(self, group: Group) -> None:
        """Sweep. A training from before the erasure loses its checkpoints, and will be refused at its end."""
        system = self._system
        sweep(system.generations, system.compact, system.store, erased_at(group), system.place)

    def verify(self, group: Group) -> Sequence[Finding]:
        """No partial file and no checkpoint from before the erasure is left, here or in another place."""
        system = self._system
        left = [*partial_files(system.generations), *system.compact.training_from_before(erased_at(group))]
        proof = "No partial file and no checkpoint of a training from before the erasure is left."
        rest = "A partial file or a checkpoint of a training from before the erasure is left."
        finding = found(Layer.TEMPORARY, not left, proof, rest, deadline_of(group), files=len(left))
        return [in_every_place(finding, group, system.store.places(), system.place)]
