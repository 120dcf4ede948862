"""What answers at present: the state in memory and the ranker, and how both follow store and disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import structlog

from rag_rec.errors import CorruptIndex, InvalidInput, RagRecError
from rag_rec.index.generation import Generations
from rag_rec.index.serving_state import ServingState
from rag_rec.recommend.opening import open_ranking
from rag_rec.recommend.source import RankerSource
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.protocol import Embedder

log = structlog.get_logger()


@dataclass(eq=False)
class Current:
    """The state that answers, of which the parts of an engine each hold this one object. Thread-safe.

    Attributes:
        settings: of the system.
        store: the system of record.
        embedder: the embedding model.
        generations: the index generations on disk.
        live: the state in memory. It is replaced as a whole where another index is taken up.
        ranking: provides the ranker in use.
    """

    settings: Settings
    store: Store
    embedder: Embedder
    generations: Generations
    live: ServingState
    ranking: RankerSource

    def __post_init__(self) -> None:
        self._ranked_at = self.live.erasures

    @classmethod
    def load(cls, settings: Settings, store: Store, embedder: Embedder, ranking: RankerSource | None = None) -> Self:
        """Load the current generation, and the ranker of the settings unless one is given. Raises ``NotReady`` where
        there is no generation yet, and ``CorruptIndex``."""
        generations = Generations(settings.generations)
        live = ServingState.load(generations.current(), store, settings, embedder)
        return cls(settings, store, embedder, generations, live, ranking or open_ranking(settings, store))

    def fresh(self) -> ServingState:
        """The state in memory as of the store's present epoch; the ranker is looked at again where somebody went."""
        live = self.live
        if self.store.epoch() > live.epoch:
            live.follow()
        if live.erasures != self._ranked_at:  # a person was forgotten: perhaps the adapter may not rank any more
            self._ranked_at = live.erasures
            self.refresh_ranking()
        return live

    def refresh_ranking(self) -> None:
        """Take up the ranker that is current on disk; one that is broken is logged, and costs no answer."""
        try:
            self.ranking.refresh()
        except RagRecError as error:
            log.error("generator_refresh_failed", code=error.code)

    def take_up_generation(self) -> bool:
        """Take up the index generation that is current on disk: whether it is another one. One caller at a time."""
        name = self.generations.current_id()
        if name is None or name == self.live.generation.id:
            return False
        try:
            generation = self.generations.current()
        except (InvalidInput, CorruptIndex):
            if self.generations.current_id() != name:
                return False  # replaced by a successor while it was read; the next call finds that one
            raise
        if generation.manifest.lineage == self.live.generation.manifest.lineage:
            self.live.follow()
            self.live.generation = generation
            return True
        self.live = ServingState.load(generation, self.store, self.settings, self.embedder)
        return True
