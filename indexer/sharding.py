"""Exact removal from an adapter that is made of shards: only the shards of those who went are trained again.

What is served is made anew from all shards, by people who remain: the scale of their sum, and the epochs on everybody.
So it is, to the byte, the adapter of a system that never knew those who went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from indexer.compact_build import CompactBuilder, alone
from indexer.learned import remaining
from rag_rec.adapters.removal import Removal
from rag_rec.engine.tending import occupied
from rag_rec.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Sharding:
    """A :class:`rag_rec.adapters.removal.Removal` by training the shards again that held a forgotten person.

    Attributes:
        builder: of the system, with the settings of the adapter in use.
    """

    builder: CompactBuilder

    name: ClassVar[str] = "shards"
    exact: ClassVar[bool] = True

    def remove(self, requests: Sequence[str]) -> str:  # noqa: ARG002 - nothing of the forgotten is in the store
        """See :meth:`rag_rec.adapters.removal.Removal.remove`; interrupted, it goes on where it was.

        What came after the training is not learned, or every shard would have to be trained again.

        Raises:
            InvalidInput: the adapter in use is not made of shards, nothing remains that it was made of, or as in the
                protocol.
            NotReady: there is no compact generator.
            CorruptIndex: it is damaged.
            Busy: as in the protocol.
        """
        builder = self.builder
        with alone(builder.compact), occupied(builder.settings, builder.store) as place:
            builder.progress.stage("read people", 0)
            base, adapter = builder.compact.open_current()
            if adapter is None or builder.how.adapter.shards == 1:
                raise InvalidInput(
                    "The adapter in use is not made of shards: build one with "
                    "`rag-rec compact build --shards 4 --reserve 0.05`, or run `rag-rec adapter retrain`."
                )
            people, publisher = remaining(builder, adapter), builder.publisher(place)
            if not people.positives:
                raise InvalidInput("Nothing remains that was learned: activate `none` with `rag-rec compact activate`.")
            items = int(adapter.manifest.settings["items"])
            made = builder.adapter(base, people, publisher, items)
            publisher.put_to_use(base.digest, made, builder.seen(people))
        return made.digest


if TYPE_CHECKING:
    _: type[Removal] = Sharding
