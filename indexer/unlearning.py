"""Takes everybody out of the adapter in use whose request waits for it, by the chosen method and within its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from indexer.compact_build import CompactBuilder
from indexer.influencing import Influence
from indexer.retraining import Retraining
from indexer.sharding import Sharding
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.measured import read_measured
from rag_rec.adapters.removal import Removal
from rag_rec.errors import InvalidInput

EXACT: Final = {way.name for way in (Retraining, Sharding, Influence) if way.exact}


class Method(StrEnum):
    """How people are taken out of an adapter."""

    RETRAIN = Retraining.name
    SHARDS = Sharding.name
    INFLUENCE = Influence.name

    @property
    def exact(self) -> bool:
        """Whether nothing is left of who leaves in this way."""
        return self.value in EXACT


@dataclass(frozen=True, slots=True)
class Plan:
    """What a removal is about to do.

    Attributes:
        requests: ids of those that wait for the adapter in use, at least one.
        method: chosen.
        why: why another method than the one that was asked for, None if it is that one.
    """

    requests: Sequence[str]
    method: Method
    why: str | None = None

    @classmethod
    def of(cls, compact: AdapterStore, requests: Sequence[str], asked: Method, budget: float) -> Plan:
        """Within the budget of removals that are not exact; beyond it the adapter is trained again.

        Args:
            compact: the adapters.
            requests: that wait for the one in use.
            asked: the method.
            budget: share of the people of the training who may leave by a method that is not exact.

        Raises:
            InvalidInput: no request waits.
        """
        if not requests:
            raise InvalidInput("No forget request waits for the adapter in use: forget a person first.")
        if asked.exact:
            return cls(requests, asked)
        spent, learned = _spent(compact)
        allowed = int(budget * learned)
        if spent + len(requests) <= allowed:
            return cls(requests, asked)
        why = (
            f"{spent} requests left the adapter by a method that is not exact since it was trained, {len(requests)} "
            f"wait, and {allowed} may (RAGREC_ADAPTER_BUDGET): it is trained again."
        )
        return cls(requests, Method.RETRAIN, why)

    def removal(self, builder: CompactBuilder, damping: float | None) -> Removal:
        """The way of removal; for ``damping`` see :class:`indexer.influencing.Influence`."""
        if self.method is Method.INFLUENCE:
            return Influence(builder, damping)
        return Sharding(builder) if self.method is Method.SHARDS else Retraining(builder)


def _spent(compact: AdapterStore) -> tuple[int, int]:
    """How many requests left the adapter in use by a method that is not exact, of how many people."""
    _, adapter = compact.open_current()
    if adapter is None:
        return 0, 0
    counts = adapter.manifest.counts
    try:
        return len(read_measured(adapter.folder)), int(counts.get("learned", counts["users"]))
    except ValueError:
        return 0, 0  # what was measured is lost: only a training helps
