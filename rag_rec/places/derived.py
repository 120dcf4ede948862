"""Destroys everything that was made from a store's data, since another store takes its place."""

from __future__ import annotations

from rag_rec.adapters.folder import AdapterStore
from rag_rec.artifacts.destruction import destroy
from rag_rec.artifacts.immutable import POINTER
from rag_rec.index.generation import Generations
from rag_rec.settings import Settings


def discard_derived(settings: Settings, generations: Generations) -> None:
    """Overwrite and remove index generations, unfinished builds, adapters, training checkpoints and gates.

    The caller holds :meth:`rag_rec.index.generation.Generations.writing`. The pointers go first, so that no reader
    finds half of anything. Bases of the compact generator hold no person and stay.
    """
    compact = AdapterStore(settings.compact)
    for root in (generations.root, compact.root):
        (root / POINTER).unlink(missing_ok=True)
    folders = [path for path in generations.root.iterdir() if path.is_dir()]
    for folder in (*folders, compact.adapters, settings.gates):
        if folder.is_dir():
            destroy(folder)
    compact.discard_training()
