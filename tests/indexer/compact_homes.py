"""Small systems that build a compact generator: people who go round the catalogue in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from indexer.compact_build import Compact, CompactBuilder, CompactSettings
from indexer.retraining import Retraining, settings_in_use
from rag_rec.adapters.folder import AdapterStore
from rag_rec.compact.base import BaseSettings
from rag_rec.compact.training import AdapterSettings
from rag_rec.domain import Interaction
from rag_rec.home.opening import store_of
from rag_rec.index.generation import Generations
from rag_rec.progress.protocol import Progress, Silent
from rag_rec.settings import Settings
from rag_rec.vectors.protocol import Embedder
from tests.embedders import HashEmbedder
from tests.homes import ITEMS

DAY = 86_400_000
LOG = tuple(
    Interaction(f"user-{u}", ITEMS[(u + n) % 12].id, (100 + n) * DAY, "like")
    for u in range(8)
    for n in range(3 + u % 4)
)
QUICK = CompactSettings(
    BaseSettings(width=16, layers=1, epochs=1),
    AdapterSettings(epochs=3, rate=1e-2, batch=3, context=10, held_out=0.0),
)


class Stopped(Exception):
    """A build was killed."""


class StopAfter(Silent):
    """Kills a build when so many percent of a stage are done."""

    def __init__(self, stage: str, percent: int) -> None:
        self._stage, self._percent = stage, percent
        self._present, self._done = "", 0

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the seam's signature
        self._present, self._done = name, 0

    def advance(self, steps: int) -> None:
        self._done += steps
        if self._present == self._stage and self._done >= self._percent:
            raise Stopped


def build_compact(
    settings: Settings,
    how: CompactSettings = QUICK,
    *,
    progress: Progress | None = None,
    embedder: Embedder | None = None,
    fresh: bool = False,
) -> Compact:
    """Build the compact generator of a system that has an index."""
    store = store_of(settings)
    generations = Generations(settings.generations)
    builder = CompactBuilder(store, generations, settings, embedder or HashEmbedder(), progress or Silent(), how)
    try:
        return builder.build(fresh=fresh)
    finally:
        store.close()


def retrain(settings: Settings, progress: Progress | None = None) -> str:
    """Train the adapter in use again; returns the digest of the new one."""
    how = settings_in_use(AdapterStore(settings.compact), "cpu", settings.seed)
    store = store_of(settings)
    generations = Generations(settings.generations)
    builder = CompactBuilder(store, generations, settings, HashEmbedder(), progress or Silent(), how)
    try:
        return Retraining(builder).remove([])
    finally:
        store.close()


def without(log: Sequence[Interaction], user_id: str) -> list[Interaction]:
    """The log as it would be had this person never existed."""
    return [row for row in log if row.user_id != user_id]


def trained(how: CompactSettings = QUICK, **changes: object) -> CompactSettings:
    """The same with another training of the adapter."""
    return replace(how, adapter=replace(how.adapter, **changes))  # type: ignore[arg-type]
