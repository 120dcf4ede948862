"""What remains of a training once people were forgotten: where a removal by influence starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from indexer.compact_build import CompactBuilder
from indexer.learned import RETRAIN, Learned
from rag_rec.adapters.measured import Measured
from rag_rec.adapters.publishing import Publisher
from rag_rec.compact.adapter import Deltas
from rag_rec.compact.stop import Stop, read_stop
from rag_rec.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Remainder(Learned):
    """The adapter in use, who remains in it, and where its training stopped.

    Attributes:
        stop: of everybody who was in the adapter, at its weights.
    """

    stop: Stop

    @classmethod
    def read(cls, builder: CompactBuilder) -> Remainder:
        """Of the system of a builder, whose settings are those of the adapter in use.

        Raises:
            NotReady: there is no compact generator.
            InvalidInput: there is no adapter, or it keeps nothing that people could be removed by.
            CorruptIndex: it is damaged.
        """
        adapter = builder.compact.open_current()[1]
        stop = None if adapter is None else read_stop(adapter.folder)
        if stop is None:
            raise InvalidInput(
                "The adapter in use keeps nothing that people could be removed by: train one with "
                f"`rag-rec compact build --reserve 0.05`, or {RETRAIN}."
            )
        found = Learned.in_use(builder)
        return cls(found.adapter, found.base, found.digest, found.settings, found.people, found.earlier, stop)

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
        told = {**self.earlier, **measured}
        with publisher.writing(self.people.epoch):  # until it is in use: any other of such a removal is destroyed
            made = self.publish(publisher, deltas, stop, told, {})
            self.put_to_use(publisher, made, told)
        return made.digest
