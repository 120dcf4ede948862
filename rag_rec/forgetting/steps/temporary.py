"""Temporary and partial files: what an interrupted writer left, and checkpoints of an unfinished training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rag_rec.adapters.removal import destroy_unused
from rag_rec.artifacts.destruction import remove
from rag_rec.forgetting.layers import Finding, Layer
from rag_rec.forgetting.steps.protocol import Group, deadline_of, erased_at, found
from rag_rec.forgetting.system import System

PARTIAL: Final = "*.rewritten"
"""Names of files that an interrupted rewriting leaves."""


class SweepTemporary:
    """Overwrites and removes partial files, training checkpoints, and adapters that nobody uses.

    What is left of adapters is a layer of its own (:mod:`rag_rec.adapters.finding`).
    """

    name = "temporary"

    def __init__(self, system: System) -> None:
        self._system = system

    def act(self, group: Group) -> None:
        """Sweep. A training from before the erasure loses its checkpoints, and will be refused at its end."""
        self._system.compact.discard_training(erased_at(group))
        destroy_unused(self._system.compact, self._system.store)
        with self._system.generations.writing():
            for path in self._partial():
                with suppress(FileNotFoundError):
                    remove(path, below=self._system.generations.root)

    def verify(self, group: Group) -> Sequence[Finding]:
        """No partial file and no checkpoint from before the erasure is left."""
        left = [*self._partial(), *self._system.compact.training_from_before(erased_at(group))]
        proof = "No partial file and no checkpoint of a training from before the erasure is left."
        rest = "A partial file or a checkpoint of a training from before the erasure is left."
        return [found(Layer.TEMPORARY, not left, proof, rest, deadline_of(group), files=len(left))]

    def _partial(self) -> Iterator[Path]:
        return self._system.generations.root.rglob(PARTIAL)
