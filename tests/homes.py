"""Small systems for tests: a store with items and interactions, an index built from it, and the engine over both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from indexer.build import Builder
from rag_rec.candidates.reranker import Reranker
from rag_rec.domain import Interaction, Item, User
from rag_rec.engine.engine import Engine
from rag_rec.home.opening import store_of
from rag_rec.index.generation import Generation
from rag_rec.index.signed import generations_of
from rag_rec.progress.protocol import Silent
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder

TITLES = (
    "silent river mystery",
    "river of stars",
    "stars over winter",
    "winter garden comedy",
    "garden of shadows",
    "shadows and steel",
    "steel hearts romance",
    "hearts of the sea",
    "sea of silent stars",
    "comedy of shadows",
    "romance in winter",
    "mystery of the garden",
)
ITEMS = tuple(
    Item(f"item-{n}", title, {"genre": title.split()[-1], "year": 1990 + n}, f"provider-{n % 3}")
    for n, title in enumerate(TITLES)
)


def settings_for(home: Path, **changes: object) -> Settings:
    """Settings of a system under a folder."""
    return Settings.model_validate({"home": home, "interest_clusters": 4, "candidates": 10, **changes})


def fill(settings: Settings, interactions: Sequence[Interaction], items: Sequence[Item] = ITEMS) -> None:
    """Put items and interactions into the store, in order."""
    store = store_of(settings)
    store.put_items(items)
    store.put_users([User(user_id) for user_id in dict.fromkeys(row.user_id for row in interactions)])
    store.append(interactions)
    store.close()


def build(settings: Settings, *, fresh: bool = False, reranker: Reranker | None = None) -> Generation:
    """Build and publish a generation."""
    store = store_of(settings)
    builder = Builder(store, generations_of(settings), settings, HashEmbedder(), Silent(), reranker)
    try:
        return builder.build(fresh=fresh)
    finally:
        store.close()


def engine_of(settings: Settings) -> Engine:
    """The engine over a system that has been built."""
    return Engine.open(settings, embedder=HashEmbedder())


def running(
    home: Path, interactions: Sequence[Interaction], *, reranker: Reranker | None = None, **changes: object
) -> Engine:
    """A system with these interactions, built and opened."""
    settings = settings_for(home, **changes)
    fill(settings, interactions)
    build(settings, reranker=reranker)
    return engine_of(settings)
