"""What the adapter in use learned, as far as it is still in the store: where it is mended without a training.

Nothing of those who went is read: they are erased from the store by then. Of those who stay it is read what the
training read, not what came since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

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
from rag_rec.compact.stop import WINDOWS, Stop, samples_of, write_stop
from rag_rec.compact.training import AdapterSettings
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.influence.curvature import Samples
from rag_rec.progress.protocol import Progress

RETRAIN: Final = "run `rag-rec adapter retrain`"


@dataclass(frozen=True, slots=True)
class Learned:
    """The adapter in use, and who remains of those that it was trained on.

    Attributes:
        adapter: as published.
        base: the one in use, in memory.
        digest: of that base.
        settings: of the training.
        people: who remains, with what remains of what was learned from them, and the reserve.
        earlier: what was measured of the requests that left the adapter by a removal that is not exact.
    """

    adapter: CompactFolder
    base: Base
    digest: str
    settings: AdapterSettings
    people: People
    earlier: Mapping[str, Measured]

    @classmethod
    def in_use(cls, builder: CompactBuilder) -> Self:
        """By the adapter in use of the system of a builder, whose settings are those of that adapter.

        Raises:
            NotReady: there is no compact generator.
            InvalidInput: the base is in use alone.
            CorruptIndex: it is damaged.
        """
        base, adapter = builder.compact.open_current()
        if adapter is None:
            raise InvalidInput("No adapter is in use: run `rag-rec compact build`.")
        settings, people = builder.how.adapter, remaining(builder, adapter)
        return cls(adapter, Base.load(base.folder), base.digest, settings, people, _earlier(adapter))

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

    def publish(
        self,
        publisher: Publisher,
        deltas: Deltas,
        stop: Stop | None,
        measured: Mapping[str, Measured],
        more: Mapping[str, Any],
    ) -> CompactFolder:
        """Publish an adapter that descends from this one; it is not put to use by that, see :meth:`put_to_use`.

        Args:
            publisher: of the folder, whose lock is held.
            deltas: of the new adapter.
            stop: of those who remain, at these differences; None where the training kept none.
            measured: of each request that left, those of earlier ones among them.
            more: to say of it beside what is said of this one.
        """
        return publisher.adapters.publish_adapter(
            lambda folder: self._write(folder, deltas, stop, measured),
            base=self.digest,
            epoch=self.people.epoch,
            settings={**self.adapter.manifest.settings, **more},
            counts=self._counts(deltas),
        )

    def put_to_use(self, publisher: Publisher, made: CompactFolder, measured: Mapping[str, Measured]) -> None:
        """Put what :meth:`publish` made in the place of the adapter in use, with the people who remain as its lineage.

        Raises:
            Busy: a person was forgotten meanwhile.
        """
        seen = self.people.lineage(self._held_out, self.settings.seed, reserve=self.settings.shards > 1)
        publisher.put_to_use(self.digest, made, seen, {request: each.text() for request, each in measured.items()})

    @property
    def _held_out(self) -> float:
        return float(self.adapter.manifest.settings["held_out"])

    def _write(self, folder: Path, deltas: Deltas, stop: Stop | None, told: Mapping[str, Measured]) -> None:
        write_adapter(folder, deltas, self.rank, self.digest)
        if stop is not None:
            write_stop(folder, stop)
        if told:
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
    """What was measured of the requests that left an adapter."""
    try:
        return read_measured(adapter.folder)
    except (OSError, ValueError):
        raise CorruptIndex(f"What was measured of the adapter in use is damaged: {RETRAIN}.") from None
