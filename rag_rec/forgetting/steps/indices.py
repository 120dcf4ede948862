"""The vector indices on disk: shard files are rewritten without the person, in every generation."""

from __future__ import annotations

from collections.abc import Sequence

from rag_rec.forgetting.layers import Finding, Layer
from rag_rec.forgetting.steps.files import erase_from_files, left_in_files
from rag_rec.forgetting.steps.protocol import Group, deadline_of, found, is_whole
from rag_rec.forgetting.system import System


class RewriteIndices:
    """Rewrites the index files that hold anybody of the group."""

    name = "files"

    def __init__(self, system: System) -> None:
        self._generations = system.generations

    def act(self, group: Group) -> None:
        """Rewrite the files of every generation and unfinished build from before the erasure."""
        erase_from_files(self._generations, _epochs(group))

    def verify(self, group: Group) -> Sequence[Finding]:
        """No file from before the erasure holds anybody of the group."""
        left = left_in_files(self._generations, _epochs(group))
        generations = len(self._generations.names())
        proof = (
            "No index file from before the erasure holds a vector or a row of the person; the old ones are overwritten."
        )
        if not is_whole(group):
            proof += " Files made since then hold what the person has kept, or nothing."
        rest = "An index file from before the erasure still holds the person."
        detail = {"generations": generations, "files": len(left)}
        return [found(Layer.INDICES, not left, proof, rest, deadline_of(group), **detail)]


def _epochs(group: Group) -> dict[int, int]:
    """The newest erasure epoch of each user of the group."""
    epochs: dict[int, int] = {}
    for record in group:
        if record.user_number is not None:
            epochs[record.user_number] = max(record.epoch_after, epochs.get(record.user_number, 0))
    return epochs
