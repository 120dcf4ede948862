"""Prompts about made-up films, for measurements of speed: titles of a few words, a year, and genres."""

from __future__ import annotations

import numpy as np

from rag_rec.domain import Candidate, Item, User
from rag_rec.generators.protocol import EvidenceLine, Prompt

CATALOGUE = 4000
SYLLABLES = tuple(first + last for first in ("b", "cl", "dr", "f", "g", "l", "m", "p", "st") for last in "aeiou")
GENRES = ("Action", "Adventure", "Animation", "Comedy", "Crime", "Drama", "Horror", "Romance", "Thriller", "War")
DAY = 86_400_000


def catalogue(seed: int) -> dict[str, Item]:
    """:data:`CATALOGUE` items by id; ids are numbers, as in the public data sets."""
    draws = np.random.default_rng(seed)
    words = ["".join(draws.choice(SYLLABLES, draws.integers(1, 4))).capitalize() for _ in range(2000)]
    return {str(number): _film(str(number), words, draws) for number in range(1, CATALOGUE + 1)}


def _film(item_id: str, words: list[str], draws: np.random.Generator) -> Item:
    title = f"{' '.join(draws.choice(words, draws.integers(1, 5)))} ({draws.integers(1930, 2000)})"
    genres = tuple(draws.choice(GENRES, draws.integers(1, 4), replace=False).tolist())
    return Item(item_id, f"{title} {', '.join(genres)}", {"title": title, "genres": genres})


def prompts(items: dict[str, Item], users: int, evidence: int, candidates: int, seed: int) -> list[Prompt]:
    """One prompt per user, with ``evidence`` interactions and ``candidates`` candidates."""
    draws = np.random.default_rng(seed)
    return [_prompt(items, f"u{number}", evidence, candidates, draws) for number in range(users)]


def _prompt(items: dict[str, Item], user: str, evidence: int, candidates: int, draws: np.random.Generator) -> Prompt:
    chosen = draws.choice(list(items), evidence + candidates, replace=False).tolist()
    stars = draws.integers(1, 6, evidence).tolist()
    return Prompt(
        user=User(user, {"age": int(draws.integers(18, 80)), "occupation": "writer"}),
        evidence=[
            EvidenceLine(item, "rating", place * DAY, float(value))
            for place, (item, value) in enumerate(zip(chosen, stars, strict=False))
        ],
        candidates=[Candidate(item, -0.1 * place) for place, item in enumerate(chosen[evidence:])],
        item=items.__getitem__,
    )
