"""Trains an adapter in memory: everybody at once, or in shards that are added up.

A training that is interrupted goes on after the last epoch that it finished, unless a person was forgotten meanwhile.
A shard is trained only where neither the adapter in use nor the interrupted training has it: what a shard is named by
(:func:`rag_rec.compact.shards.key_of`) holds everything that its training depends on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson
import torch

from indexer.epochs import Epochs
from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints
from rag_rec.adapters.published import CompactFolder
from rag_rec.adapters.publishing import Publisher
from rag_rec.compact.adapter import Deltas, merged, served, write_adapter
from rag_rec.compact.base import Base
from rag_rec.compact.people import People
from rag_rec.compact.sequences import TokenSequence, Windows
from rag_rec.compact.shards import FORMAT, Shard, best_sum, digest_of, key_of, read_shard, settings_of, write_shards
from rag_rec.compact.stop import Stop, require_whole_softmax, samples_of, write_stop
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.compact.vocabulary import PAD
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.influence.vectors import add
from rag_rec.progress.protocol import Progress

STAGE: Final = "adapter"
"""What the progress calls the training that ends with what is served."""
KEPT: Final = "what a removal needs"
"""What it calls the gradient that is kept in the adapter."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training came to.

    Attributes:
        deltas: differences to the base.
        loss: mean per target of the last epoch, in nats.
        rank: of the LoRA matrices.
        shards: that it was made of.
        stop: what a removal by influence needs of it, see :mod:`rag_rec.compact.stop`; None where it is not kept.
    """

    deltas: Deltas
    loss: float
    rank: int
    shards: Sequence[Shard] = ()
    stop: Stop | None = None

    def write(self, folder: Path, base: str) -> None:
        """Write the files of the adapter into an empty folder; ``base`` is the digest of the base."""
        write_adapter(folder, self.deltas, self.rank, base)
        write_shards(folder, self.shards)
        if self.stop is not None:
            write_stop(folder, self.stop)


@dataclass(frozen=True, slots=True)
class Trainer:
    """A training to be made, or to be gone on with.

    Attributes:
        base: what it is trained on.
        items: how many items of the base the training knows: the first ones.
        people: who is learned from, and the reserve.
        held_out: share of the people whose newest item is not learned.
        settings: how.
        device: PyTorch's name of where.
        publisher: of the folder, which has the checkpoints.
        progress: hears how far it has come.
        earlier: the adapter in use, whose shards are taken over where they are the same.
    """

    base: CompactFolder
    items: int
    people: People
    held_out: float
    settings: AdapterSettings
    device: str
    publisher: Publisher
    progress: Progress
    earlier: CompactFolder | None = None

    def train(self) -> Trained:
        """Train to the end.

        Raises:
            InvalidInput: the settings do not fit the base or the people, or make the training diverge.
            Busy: a person was forgotten meanwhile.
        """
        base = Base.load(self.base.folder)
        self._check_room(base)
        keeps = self._keeps_stop(self.known(base))
        trained = self._in_shards(base) if self.settings.shards > 1 else self._at_once(base)
        return replace(trained, stop=self._stop(trained)) if keeps else trained

    def clear(self) -> None:
        """Destroy the checkpoints, once the adapter is published."""
        self._checkpoints("").clear()

    def known(self, base: Base) -> int:
        """Tokens of the base below this number are in use."""
        return base.vocabulary.first_item + self.items

    def _at_once(self, base: Base) -> Trained:
        checkpoints = self._checkpoints(self._key())
        if not self.publisher.taken(checkpoints.load()):
            checkpoints.clear()
        training = self._trained(base, self._sequences(base), self.settings, checkpoints, STAGE)
        return Trained(training.deltas(), training.loss, self._rank(base))

    def _in_shards(self, base: Base) -> Trained:
        reserve = self.people.reserved(base.vocabulary)
        if not reserve:
            raise InvalidInput(
                "Shards are added up as suits people from whom nothing is learned, and there are none: train with a "
                "larger `--reserve`, or with `--shards 1`."
            )
        jobs = [job for place in range(self.settings.shards) if (job := self._job(base, place)).people]
        key = self._key_together(jobs, reserve)
        self._checkpoints("").leave([key, *(job.key for job in jobs)])
        shards = [self._shard(job) for job in jobs]
        self.progress.stage("sum of the shards", 0)
        start = best_sum(base, shards, reserve, self.settings.context)
        if not self.settings.together:
            return Trained(start, sum(each.loss for each in shards) / len(shards), self._rank(base), shards)
        settings = replace(self.settings, epochs=self.settings.together)
        begun = replace(base, model=merged(base.model, start))
        training = self._trained(begun, self._sequences(base), settings, self._checkpoints(key), STAGE)
        return Trained(add(start, training.deltas()), training.loss, self._rank(base), shards)

    def _job(self, base: Base, place: int) -> _Job:
        settings = settings_of(self.settings, place)
        people = self.people.among(place, self.settings.shards, self.settings.seed)
        sequences = people.sequences(base.vocabulary, self.held_out, self.settings.seed)
        key = key_of(self.base.manifest.lineage, self.known(base), settings, self.device, sequences)
        return _Job(f"shard {place + 1} of {self.settings.shards}", key, settings, sequences)

    def _shard(self, job: _Job) -> Shard:
        """From the adapter in use, from the interrupted training, or trained."""
        checkpoints = self._checkpoints(job.key)
        found = self._in_use(job) or _of_part(job.key, self.publisher.taken(checkpoints.kept()))
        if found is not None:
            return found
        training = self._trained(Base.load(self.base.folder), job.people, job.settings, checkpoints, job.name)
        self._epochs.keep(training, checkpoints)
        return Shard(job.key, training.deltas(), training.loss)

    def _in_use(self, job: _Job) -> Shard | None:
        try:
            return None if self.earlier is None else read_shard(self.earlier, job.key)
        except CorruptIndex:
            self.progress.stage(f"{job.name} is damaged, and is trained again", 0)
            return None

    def _trained(
        self, base: Base, people: Sequence[TokenSequence], settings: AdapterSettings, to: Checkpoints, name: str
    ) -> AdapterTraining:
        """A training that is finished; the model of the base is changed in place."""
        windows = Windows(people, settings.context, settings.batch, PAD, settings.seed)
        training = AdapterTraining(base.model, windows, self.known(base), settings, torch.device(self.device))
        return self._epochs.finish(training, settings.epochs, to, name)

    def _keeps_stop(self, known: int) -> bool:
        if not self.settings.reserve:
            return False
        if self.settings.shards == 1:
            require_whole_softmax(known, self.settings)  # before the training
        return known <= self.settings.sampled_above

    def _stop(self, trained: Trained) -> Stop:
        base = Base.load(self.base.folder)
        samples = samples_of(base, self._sequences(base), self.known(base), self.settings)
        self.progress.stage(KEPT, len(samples))
        return Stop.of(served(trained.deltas, trained.rank), samples, self.progress)

    def _rank(self, base: Base) -> int:
        return int(base.model.config.hidden_size) if self.settings.rank is None else self.settings.rank

    def _sequences(self, base: Base) -> list[TokenSequence]:
        return self.people.sequences(base.vocabulary, self.held_out, self.settings.seed)

    def _check_room(self, base: Base) -> None:
        room, context = int(base.model.config.max_position_embeddings), self.settings.context
        longest = max(len(sequence.prefix) for sequence in self._sequences(base)) + 1
        if context + longest > room:
            raise InvalidInput(
                f"A context of {context} items does not fit into {room} tokens: at most {room - longest} do."
            )

    @property
    def _epochs(self) -> Epochs:
        return Epochs(self.publisher, self.people.epoch, self.progress)

    def _checkpoints(self, key: str) -> Checkpoints:
        return Checkpoints(self.publisher.adapters.training, key)

    def _key(self) -> str:
        fields = [self.base.digest, self.settings.content(), self.held_out, self.device]
        return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _key_together(self, jobs: Sequence[_Job], reserve: Sequence[TokenSequence]) -> str:
        keys = [job.key for job in jobs]
        settings = {name: value for name, value in self.settings.content().items() if name != "rank"}
        return digest_of(["together", FORMAT, self.base.digest, keys, settings, self.device], reserve)


@dataclass(frozen=True, slots=True)
class _Job:
    """The training of one shard: what it is called, its key, how, and on whom."""

    name: str
    key: str
    settings: AdapterSettings
    people: Sequence[TokenSequence]


def _of_part(key: str, part: Checkpoint | None) -> Shard | None:
    if part is None:
        return None
    return Shard(key, {name: torch.from_numpy(array) for name, array in part.state.arrays.items()}, part.state.loss)
