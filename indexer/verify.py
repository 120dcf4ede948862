"""Checks an index generation: its files against its manifest, and its content against the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rag_rec.candidates.reranker import Reranker
from rag_rec.errors import CorruptIndex
from rag_rec.events.history import History
from rag_rec.evidence.clusters import InterestClusters
from rag_rec.index.generation import Generation, verify_files
from rag_rec.index.item_space import CLUSTERS, ItemTexts, text_digests
from rag_rec.index.people import People
from rag_rec.index.shards import read_people
from rag_rec.store.protocol import Store
from rag_rec.store.records import ChangeKind
from rag_rec.vectors.flat import FlatIndex


def verify_generation(generation: Generation, store: Store) -> Mapping[str, int]:
    """Check a published generation. Returns what was compared.

    Raises:
        CorruptIndex: a file does not match the manifest, or the content does not match the store.
    """
    verify_files(generation)
    compared = verify_content(generation.folder, store, generation.manifest.epoch)
    return {"files": len(generation.manifest.files), **compared}


def verify_content(folder: Path, store: Store, epoch: int) -> Mapping[str, int]:
    """Check that a folder can be loaded and holds what the store held at ``epoch``.

    Users and items that changed since are left out of the comparison; the process that loads the folder replays them.

    Raises:
        CorruptIndex: it cannot, or it does not.
    """
    items = FlatIndex.load(folder / "items" / "index")
    InterestClusters.load(folder / "items" / CLUSTERS)
    Reranker.load(folder / "reader")
    people = read_people(folder, items)
    changes = store.changes(epoch)
    changed_items = {change.number for change in changes if change.kind is ChangeKind.ITEM}
    changed_users = {change.number for change in changes if change.kind is not ChangeKind.ITEM}
    return {
        "items": _compare_items(folder, items, store, changed_items),
        "users": _compare_people(people, store, changed_users),
    }


def _compare_items(folder: Path, items: FlatIndex, store: Store, changed: set[int]) -> int:
    held = ItemTexts.load(folder / "items").digests
    stored = text_digests([item.text for item in store.items()])
    unchanged = [number for number in range(len(stored)) if number not in changed]
    _demand(len(held) == len(items), "has texts and vectors of items that do not fit")
    _demand(not unchanged or unchanged[-1] < len(held), "lacks items")
    _demand(np.array_equal(held[unchanged], stored[unchanged]), "was made from other texts of items")
    return len(unchanged)


def _compare_people(people: People, store: Store, changed: set[int]) -> int:
    compared = 0
    for user, history in store.histories():
        if user not in changed:
            _demand(_rows(people.history(user)) == _rows(history), "holds other interactions")
            compared += 1
    held = {user for user, _ in people.histories()} - changed
    _demand(len(held) == compared, "holds users that the store does not have")
    return compared


def _rows(history: History) -> bytes:
    """The rows as bytes, so that a missing value equals a missing value."""
    return history.tobytes()


def _demand(met: bool, fault: str) -> None:
    if not met:
        raise CorruptIndex(f"The index does not match the store, it {fault}: run `rag-rec index rebuild`.")
