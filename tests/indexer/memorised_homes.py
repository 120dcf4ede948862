"""Systems whose adapter learns people by heart: their choices follow no rule, and nothing else can be learned."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from indexer.compact_build import CompactBuilder, CompactSettings
from indexer.retraining import settings_in_use
from rag_rec.adapters.folder import AdapterStore
from rag_rec.compact.base import BaseSettings
from rag_rec.compact.training import AdapterSettings
from rag_rec.domain import Interaction
from rag_rec.index.generation import Generations
from rag_rec.progress.protocol import Progress, Silent
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.indexer.compact_homes import build_compact

PEOPLE = 120
BY_HEART = CompactSettings(
    BaseSettings(width=16, layers=1, epochs=1),
    AdapterSettings(epochs=40, rate=1e-2, dropout=0.0, batch=16, context=16, held_out=0.0, reserve=0.25),
)


def memorised_home(folder: Path, how: CompactSettings = BY_HEART, **changes: object) -> Settings:
    """A system with an index and an adapter in use."""
    settings = settings_for(folder, **changes)
    fill(settings, interactions())
    build(settings)
    build_compact(settings, how)
    return settings


def copied(made: Settings, home: Path) -> Settings:
    """The same system in a folder of its own, as it is."""
    shutil.copytree(made.home, home)
    return made.model_copy(update={"home": home})


def interactions() -> list[Interaction]:
    """Of every person, in the order of their time."""
    draws = np.random.default_rng(3)
    chosen = [draws.permutation(len(ITEMS))[: 6 + user % 5] for user in range(PEOPLE)]
    return [
        Interaction(f"user-{user}", ITEMS[item].id, 1000 * place + user, "like")
        for user, items in enumerate(chosen)
        for place, item in enumerate(items)
    ]


def builder_of(settings: Settings, store: Store, progress: Progress | None = None) -> CompactBuilder:
    """Works on the adapter in use."""
    how = settings_in_use(AdapterStore(settings.compact), "cpu", settings.seed)
    generations = Generations(settings.generations)
    return CompactBuilder(store, generations, settings, HashEmbedder(), progress or Silent(), how)
