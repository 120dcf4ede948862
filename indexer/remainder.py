"""What remains of the training of the adapter in use once people were forgotten: where a removal by influence starts.

Nothing of those who went is read: they are erased from the store by then. Of those who stay it is read what the
training read, not what came since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from indexer.compact_build import CompactBuilder
from indexer.gradient_sums import GradientSums
from rag_rec.adapters.measured import Measured, read_measured, write_measured
from rag_rec.adapters.published import CompactFolder
from rag_rec.adapters.publishing import Publisher
from rag_rec.compact.adapter import Deltas, parameters, read_deltas, trained_weights, write_adapter
from rag_rec.compact.base import Base
from rag_rec.compact.people import People
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.stop import WINDOWS, Stop, read_stop, samples_of, write_stop
from rag_rec.compact.training import AdapterSettings
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.influence.curvature import Samples
from rag_rec.progress.protocol import Progress

RETRAIN: Final = "run `rag-rec adapter retrain`"


@dataclass(frozen=True, slots=True)
class Remainder:
    """The adapter in use, and who remains of those that it was trained on.

    Attributes:
        adapter: as published.
        base: the one in use, in memory.
        digest: of that base.
        settings: of the training.
        people: who remains, with what remains of what was learned from them, and the reserve.
        stop: of everybody who was in the adapter, at its weights.
        earlier: what was measured of the requests that left the adapter in such a way before.
    """

    adapter: CompactFolder
    base: Base
    digest: str
    settings: AdapterSettings
    people: People
    stop: Stop
    earlier: Mapping[str, Measured]

    @classmethod
    def read(cls, builder: CompactBuilder) -> Remainder:
        """Of the system of a builder, whose settings are those of the adapter in use.

        Raises:
            NotReady: there is no compact generator.
            InvalidInput: there is no adapter, or it keeps nothing that people could be removed by.
            CorruptIndex: it is damaged.
        """
        base, adapter = builder.compact.open_current()
        stop = None if adapter is None else read_stop(adapter.folder)
        if adapter is None or stop is None:
            raise InvalidInput(
                "The adapter in use keeps nothing that people could be removed by: train one with "
                f"`rag-rec compact build --reserve 0.05`, or {RETRAIN}."
            )
        settings, people = builder.how.adapter, remaining(builder, adapter)
        return cls(adapter, Base.load(base.folder), base.digest, settings, people, stop, _earlier(adapter))

    def deltas(self) -> dict[str, Tensor]:
        """The adapter's differences to the base."""
        return read_deltas(self.adapter.folder, trained_weights(self.base.model))

    def learned(self) -> list[TokenSequence]:
        """What is left of what the training read, a sequence for each person."""
        return self.people.sequences(self.base.vocabulary, self._held_out, self.settings.seed)

    def reserve(self) -> list[TokenSequence]:
        """People from whom the training learned nothing."""
        return self.people.reserved(self.base.vocabulary)

    def samples(self, people: Sequence[TokenSequence], windows: int = WINDOWS) -> list[Samples]:
        """Every choice of some of them, so many windows in a batch."""
        return samples_of(self.base, people, self.known, self.settings, windows)

    def sums(self, publisher: Publisher, progress: Progress) -> GradientSums:
        """Sums of gradients over those who remain."""
        about = [self.digest, self.known, self.settings.content()]
        return GradientSums(publisher, self.people.epoch, about, progress)

    @property
    def known(self) -> int:
        """Tokens below this number were in use at the training."""
        return self.base.vocabulary.first_item + int(self.adapter.manifest.settings["items"])

    @property
    def rank(self) -> int:
        """Of the adapter."""
        return int(self.adapter.manifest.settings["rank"])

    @property
    def people_learned(self) -> int:
        """How many people the training learned from."""
        counts = self.adapter.manifest.counts
        return int(counts.get("learned", counts["users"]))

    def replace(self, publisher: Publisher, deltas: Deltas, stop: Stop, measured: Mapping[str, Measured]) -> str:
        """Publish an adapter without those who went, and put it to use in place of the one in use.

        Args:
            publisher: of the folder.
            deltas: of the new adapter.
            stop: of those who remain, at these differences.
            measured: of each request that leaves with it.

        Returns:
            Its digest.

        Raises:
            Busy: a person was forgotten meanwhile.
        """
        told, epoch = {**self.earlier, **measured}, self.people.epoch
        with publisher.writing(epoch):  # until it is in use: destroyed is any other that came out of such a removal
            made = publisher.adapters.publish_adapter(
                lambda folder: self._write(folder, deltas, stop, told),
                base=self.digest,
                epoch=epoch,
                settings=self.adapter.manifest.settings,
                counts=self._counts(deltas),
            )
            seen = self.people.lineage(self._held_out, self.settings.seed, reserve=self.settings.shards > 1)
            publisher.put_to_use(self.digest, made, seen, {request: each.text() for request, each in told.items()})
        return made.digest

    @property
    def _held_out(self) -> float:
        return float(self.adapter.manifest.settings["held_out"])

    def _write(self, folder: Path, deltas: Deltas, stop: Stop, told: Mapping[str, Measured]) -> None:
        write_adapter(folder, deltas, self.rank, self.digest)
        write_stop(folder, stop)
        write_measured(folder, told)

    def _counts(self, deltas: Deltas) -> dict[str, int]:
        return {
            "users": len(self.people.positives),
            "interactions": self.people.interactions,
            "held_out": self.people.held_out(self._held_out, self.settings.seed),
            "parameters": parameters(deltas, self.rank),
            "learned": self.people_learned,
        }


def remaining(builder: CompactBuilder, adapter: CompactFolder) -> People:
    """Who is left of those that a training read, with what is left of what it read of each, and the reserve."""
    seen, settings = adapter.manifest.settings, builder.how.adapter
    people = People.read(builder.store, builder.settings.positive_rule, int(seen["items"]), newest=int(seen["newest"]))
    return people.apart(settings.reserve, settings.seed)


def _earlier(adapter: CompactFolder) -> dict[str, Measured]:
    try:
        return read_measured(adapter.folder)
    except (OSError, ValueError):
        raise CorruptIndex(f"What was measured of the adapter in use is damaged: {RETRAIN}.") from None
