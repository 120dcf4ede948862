"""A training that goes on after the last epoch that it finished, unless a person was forgotten meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints, TrainingState
from rag_rec.adapters.publishing import Publisher
from rag_rec.compact.training import AdapterTraining
from rag_rec.progress.protocol import Percent, Progress


@dataclass(frozen=True, slots=True)
class Epochs:
    """Runs trainings to their end, and writes a checkpoint after each epoch.

    Attributes:
        publisher: of the folder: it refuses what was learned from somebody who was forgotten meanwhile.
        epoch: change of the store up to which the people were read.
        progress: hears how far a training has come.
    """

    publisher: Publisher
    epoch: int
    progress: Progress

    def finish(self, training: AdapterTraining, epochs: int, to: Checkpoints, name: str) -> AdapterTraining:
        """The same training, with all its epochs.

        Args:
            training: as it begins; where there is a checkpoint, it goes on from that.
            epochs: how many there are.
            to: its checkpoints.
            name: what the progress calls it.

        Raises:
            InvalidInput: it diverges.
            Busy: a person was forgotten meanwhile.
        """
        if found := self.publisher.taken(to.load()):
            training.resume(found.state)
        self.progress.stage(name, 100)
        told = Percent(self.progress)
        while training.finished < epochs:
            training.epoch(partial(_tell, told, training.finished, epochs))
            with self.publisher.writing(self.epoch):
                to.save(Checkpoint(training.state(), self.epoch))
        return training

    def keep(self, training: AdapterTraining, to: Checkpoints) -> None:
        """Keep what a finished training came to, in place of its checkpoints. Raises ``Busy``."""
        arrays = {name: delta.numpy() for name, delta in training.deltas().items()}
        with self.publisher.writing(self.epoch):
            to.keep(Checkpoint(TrainingState(training.finished, training.loss, arrays), self.epoch))


def _tell(told: Percent, finished: int, epochs: int, share: float) -> None:
    """Say how far a training has come, within the epoch that follows the finished ones."""
    told.share((finished + share) / epochs)
