"""Sums of gradients over everybody who remains: the part of a removal whose time grows with the data.

A sum says how far it has come, and one that is interrupted goes on where it was. It holds what was learned from people,
as an adapter does, so it is a checkpoint: written under the lock of the folder, destroyed by an erasure of somebody who
was read for it, and destroyed when the adapter is published.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints, TrainingState
from rag_rec.adapters.publishing import Publisher
from rag_rec.compact.adapter import Deltas
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.shards import digest_of
from rag_rec.influence.curvature import Samples
from rag_rec.influence.vectors import Vector, add, zeros
from rag_rec.progress.protocol import Progress

FORMAT: Final = 1
SECONDS: Final = 20.0
"""Between two writes. What takes no longer is made anew, and never written."""


@dataclass(frozen=True, slots=True)
class GradientSums:
    """The sums of one removal.

    Attributes:
        publisher: of the folder, which has the checkpoints.
        epoch: change of the store up to which the people were read.
        about: base, settings, and all else that a gradient depends on beside adapter and people; plain values.
        progress: hears how far they have come.
        seconds: between two writes.
    """

    publisher: Publisher
    epoch: int
    about: Sequence[Any]
    progress: Progress
    seconds: float = SECONDS

    def total(
        self, stage: str, deltas: Deltas, people: Sequence[TokenSequence], samples: Sequence[Samples]
    ) -> dict[str, Tensor]:
        """The gradient of the sum of the losses of all batches; equal to the byte, interrupted or not.

        Args:
            stage: what the progress calls it.
            deltas: the adapter's differences to the base.
            people: who is in the samples.
            samples: in batches.

        Raises:
            Busy: a person was forgotten meanwhile.
        """
        checkpoints = Checkpoints(self.publisher.adapters.training, self._key(deltas, people))
        done, total = self._found(checkpoints, deltas)
        self.progress.stage(stage, len(samples))
        self.progress.advance(done)
        begun, written = done, time.monotonic()
        for batch in samples[done:]:
            total, done = add(total, batch.gradient(deltas)), done + 1
            self.progress.advance(1)
            if done < len(samples) and time.monotonic() - written >= self.seconds:
                self._write(checkpoints, total, done, whole=False)
                begun, written = done, time.monotonic()
        if done > begun and (begun or time.monotonic() - written >= self.seconds):
            self._write(checkpoints, total, done, whole=True)
        return total

    def clear(self) -> None:
        """Destroy them, once the adapter is published."""
        Checkpoints(self.publisher.adapters.training, "").clear()

    def _found(self, checkpoints: Checkpoints, deltas: Deltas) -> tuple[int, dict[str, Tensor]]:
        """How many batches are summed already, and their sum."""
        found = self.publisher.taken(checkpoints.kept()) or self.publisher.taken(checkpoints.load())
        if found is None:
            return 0, zeros(deltas)
        return found.state.finished, {name: torch.from_numpy(each) for name, each in found.state.arrays.items()}

    def _write(self, checkpoints: Checkpoints, total: Vector, done: int, *, whole: bool) -> None:
        state = TrainingState(done, 0.0, {name: each.numpy() for name, each in total.items()})
        with self.publisher.writing(self.epoch):
            (checkpoints.keep if whole else checkpoints.save)(Checkpoint(state, self.epoch))

    def _key(self, deltas: Deltas, people: Sequence[TokenSequence]) -> str:
        weights = hashlib.sha256()
        for name in sorted(deltas):
            weights.update(name.encode() + deltas[name].contiguous().numpy().tobytes())
        return digest_of(["gradient", FORMAT, *self.about, weights.hexdigest()], people)
