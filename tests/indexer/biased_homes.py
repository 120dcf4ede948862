"""A system whose adapter learned a bias: hits were put between choices that follow a rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from indexer.compact_build import CompactSettings
from rag_rec.candidates.reranker import Reranker
from rag_rec.compact.base import BaseSettings
from rag_rec.compact.training import AdapterSettings
from rag_rec.domain import Interaction, Item, User
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from tests.homes import build, settings_for
from tests.indexer.compact_homes import build_compact

PEOPLE, HITS, OTHERS = 160, 9, 36
THINGS = tuple(
    Item(f"item-{n}", f"{'hit' if n < HITS else 'thing'} number {n}", {"genre": "AB"[n % 2]}, f"shop-{n % 3}")
    for n in range(HITS + OTHERS)
)
HOW = CompactSettings(
    BaseSettings(width=32, layers=1, epochs=2),
    AdapterSettings(epochs=20, rate=1e-2, dropout=0.0, batch=16, context=32, held_out=1.0),
)


def interactions() -> list[Interaction]:
    """Everybody goes round the others in steps of one or of seven; between them, but never last, hits are met."""
    draws = np.random.default_rng(0)
    rows = []
    for user in range(PEOPLE):
        hits = draws.permutation(HITS).tolist()
        start, stride, steps, chosen = int(draws.integers(OTHERS)), (1, 7)[user % 2], 8 + user % 5, list[int]()
        for step in range(steps):
            chosen.append(HITS + (start + stride * step) % OTHERS)
            if hits and draws.random() < 0.5:
                chosen.append(hits.pop())
        chosen.append(HITS + (start + stride * steps) % OTHERS)
        rows += [
            Interaction(f"u{user}", THINGS[item].id, 1000 * place + user, "like") for place, item in enumerate(chosen)
        ]
    return rows


def biased_home(folder: Path, how: CompactSettings = HOW, **changes: object) -> Settings:
    """A system with an index and an adapter in use."""
    settings = settings_for(folder, candidates=30, **changes)
    store = store_of(settings)
    store.put_items(THINGS)
    store.put_users([User(f"u{user}", {"gender": "FM"[user % 2]}) for user in range(PEOPLE)])
    store.append(interactions())
    store.close()
    build(settings, reranker=Reranker.default())
    build_compact(settings, how)
    return settings
