"""The vector indices on disk: shard files are rewritten without the person, in every generation."""

from __future__ import annotations

from collections.abc import Sequence

from rag_rec.index.erasing import erase_from_files, left_in_files, vectors_in_files
from rag_rec.index.generation import Generations
from rag_rec.layers.finding import Finding, LayerName
from rag_rec.layers.protocol import Preview, QuietLayer, found
from rag_rec.layers.records import ForgetState, Group, Target, deadline_of, erased_at, is_whole
from rag_rec.presence.awaited import wait_for_open
from rag_rec.presence.elsewhere import in_every_place
from rag_rec.store.protocol import Store


class FilesLayer(QuietLayer):
    """Rewrites the index files that hold a person of the group.

    Args:
        generations: the index files of this folder.
        store: knows the other folders.
        place: the id of this folder, if it is a place.
        wait_ms: how long the other folders that are open are waited for.
    """

    name = LayerName.INDICES
    state = ForgetState.ERASED

    def __init__(self, generations: Generations, store: Store, place: str | None, wait_ms: int) -> None:
        self._generations = generations
        self._store = store
        self._place = place
        self._wait_ms = wait_ms

    def preview(self, targets: Sequence[Target]) -> Preview:
        """How many files would be rewritten."""
        return {"index_files": len(vectors_in_files(self._generations, [target.number for target in targets]))}

    def remove(self, group: Group) -> None:
        """Rewrite the files of every generation and unfinished build from before the erasure, and give the other places
        that are open the time of ``RAGREC_REPLICA_WAIT_MS`` to do the same."""
        erase_from_files(self._generations, _epochs(group))
        wait_for_open(self._store, erased_at(group), self._place, self._wait_ms)

    def look(self, group: Group) -> Sequence[Finding]:
        """No file from before the erasure holds a person of the group, here or in another place."""
        left = left_in_files(self._generations, _epochs(group))
        generations = len(self._generations.names())
        proof = (
            "No index file from before the erasure holds a vector or a row of the person; the old ones are overwritten."
        )
        if not is_whole(group):
            proof += " Files made since then hold what the person has kept, or nothing."
        rest = "An index file from before the erasure still holds the person."
        detail = {"generations": generations, "files": len(left)}
        finding = found(self.name, not left, proof, rest, deadline_of(group), **detail)
        return [in_every_place(finding, group, self._store.places(), self._place)] * len(group)


def _epochs(group: Group) -> dict[int, int]:
    """The newest erasure epoch of each user of the group."""
    epochs: dict[int, int] = {}
    for record in group:
        if record.user_number is not None:
            epochs[record.user_number] = max(record.epoch_after, epochs.get(record.user_number, 0))
    return epochs
