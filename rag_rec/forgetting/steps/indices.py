"""The vector indices on disk: shard files are rewritten without the person, in every generation."""

from __future__ import annotations

from collections.abc import Sequence

from rag_rec.forgetting.steps.elsewhere import in_every_place
from rag_rec.forgetting.steps.files import erase_from_files, left_in_files
from rag_rec.forgetting.steps.protocol import Group, deadline_of, erased_at, found, is_whole
from rag_rec.forgetting.system import System
from rag_rec.layers.finding import Finding, Layer
from rag_rec.presence.awaited import wait_for_open


class RewriteIndices:
    """Rewrites the index files that hold anybody of the group."""

    name = "files"

    def __init__(self, system: System) -> None:
        self._system = system
        self._generations = system.generations

    def act(self, group: Group) -> None:
        """Rewrite the files of every generation and unfinished build from before the erasure, and give the other places
        that are open the time of ``RAGREC_REPLICA_WAIT_MS`` to do the same."""
        erase_from_files(self._generations, _epochs(group))
        system = self._system
        wait_for_open(system.store, erased_at(group), system.place, system.settings.replica_wait_ms)

    def verify(self, group: Group) -> Sequence[Finding]:
        """No file from before the erasure holds anybody of the group, here or in another place."""
        left = left_in_files(self._generations, _epochs(group))
        generations = len(self._generations.names())
        proof = (
            "No index file from before the erasure holds a vector or a row of the person; the old ones are overwritten."
        )
        if not is_whole(group):
            proof += " Files made since then hold what the person has kept, or nothing."
        rest = "An index file from before the erasure still holds the person."
        detail = {"generations": generations, "files": len(left)}
        finding = found(Layer.INDICES, not left, proof, rest, deadline_of(group), **detail)
        return [in_every_place(finding, group, self._system.store.places(), self._system.place)]


def _epochs(group: Group) -> dict[int, int]:
    """The newest erasure epoch of each user of the group."""
    epochs: dict[int, int] = {}
    for record in group:
        if record.user_number is not None:
            epochs[record.user_number] = max(record.epoch_after, epochs.get(record.user_number, 0))
    return epochs
