"""The never-existed twin: the state in memory as it would be if only what the store holds had ever been there.

Every history is read from the store, every text of an interaction embedded anew, every profile computed, every count
counted and P inverted anew. Nothing comes from the state that it is compared with, nor from what index files hold of
people. Two parts are shared, because they hold nothing of people that could be removed exactly: the catalogue's item
vectors and clusters, read from the index, and the reranker. Equality therefore holds *given the same reranker*; the
receipt speaks of the reranker as a layer of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rag_rec.errors import Busy, CorruptIndex, InvalidInput
from rag_rec.index.generation import Generation, Generations
from rag_rec.index.item_space import ItemSpace
from rag_rec.index.people import People
from rag_rec.index.serving_state import ServingState
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.interactions import InteractionIndex
from rag_rec.vectors.protocol import Embedder


@dataclass(frozen=True, slots=True)
class Twin:
    """A twin and where it comes from.

    Attributes:
        live: the twin's state.
        store: the store that it was built from, and follows.
        settings: of the system.
        generations: the index generations of the system.
    """

    live: ServingState
    store: Store
    settings: Settings
    generations: Generations

    @contextmanager
    def level(self, other: ServingState) -> Iterator[None]:
        """Keep both states at the store's epoch, with nothing waiting to be folded into P.

        Meanwhile an answer by ``other`` waits if it has to follow a change. The epochs are looked at after both have
        followed: then each holds of every user what the store held at that epoch, whatever was written in between.
        """
        with other.paused():
            self.live.follow()
            while not other.epoch == self.live.epoch == self.store.epoch():
                other.follow()
                self.live.follow()
            other.statistics.flush()
            self.live.statistics.flush()
            yield


def build_twin(
    live: ServingState, store: Store, settings: Settings, embedder: Embedder, progress: Progress = SILENT
) -> Twin:
    """Build the twin of a state from the store.

    It keeps counts as the state does, dense or sparse: a catalogue that grew beyond the limit is counted in another
    way only at the next start. It takes as much memory as the state has.

    Args:
        live: the state that it will be compared with; only its reranker and its kind of counts are looked at.
        store: the system of record.
        settings: of the system.
        embedder: the embedding model.
        progress: told of the stages.

    Raises:
        Busy: the state's index is not the current one any more.
        CorruptIndex: the item vectors of the index cannot be read.
    """
    progress.stage("build the twin: read the catalogue", 0)
    generations = Generations(settings.generations)
    generation, items = _catalogue(generations, store, embedder)
    if generation.manifest.lineage != live.generation.manifest.lineage:
        raise Busy("A new index has been published and is not in use yet; try again in a moment.")
    limit = {"dense_items_limit": sys.maxsize if live.statistics.dense else 0}
    rows = items.rows()
    no_people = People(InteractionIndex(rows), FlatIndex(rows.dimension))
    twin = ServingState(generation, store, settings.model_copy(update=limit), embedder, items, no_people, live.reranker)
    twin.take_all(progress)
    return Twin(twin, store, settings, generations)


def _catalogue(generations: Generations, store: Store, embedder: Embedder) -> tuple[Generation, ItemSpace]:
    """The current generation with its items, read again if a removal replaces it meanwhile."""
    while True:
        name = generations.current_id()
        try:
            generation = generations.current()
            return generation, ItemSpace.load(generation.folder / "items", store.items(), embedder)
        except (CorruptIndex, InvalidInput):
            if generations.current_id() == name:
                raise
