"""A tiny catalogue of three kinds of items, and a base trained on it in a second."""

from __future__ import annotations

from dataclasses import dataclass

from rag_rec.compact.base import Base, BaseSettings, build_base
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.compact.walks import WalkSettings
from rag_rec.domain import Item, User
from rag_rec.vectors.protocol import Vectors
from tests.embedders import HashEmbedder

GENRES = ("comedy", "horror", "western")
SETTINGS = BaseSettings(width=16, epochs=2, batch=16, walks=WalkSettings(per_item=2, length=12, neighbours=5))


def items(count: int = 60) -> list[Item]:
    """Items whose text and attribute tell their genre; an id has white space in it."""
    return [
        Item(f"i {number}", f"{genre} {genre} film {number}", {"genre": (genre,), "number": number}, provider="studio")
        for number in range(count)
        for genre in (GENRES[number % len(GENRES)],)
    ]


def users() -> list[User]:
    """Users whose age bands are shared and whose post codes are not."""
    return [User(f"u{number}", {"age": 25 + 10 * (number % 2), "post code": f"P{number}"}) for number in range(50)]


@dataclass(frozen=True)
class Catalogue:
    """Items, their vectors and their vocabulary."""

    items: list[Item]
    vectors: Vectors
    vocabulary: Vocabulary


def catalogue(count: int = 60) -> Catalogue:
    found = items(count)
    vectors = HashEmbedder().embed([item.text for item in found])
    return Catalogue(found, vectors, Vocabulary.of(found, users(), least=10))


def base(settings: BaseSettings = SETTINGS, losses: list[float] | None = None) -> Base:
    """Builds a base; ``losses`` takes the loss of every step."""
    held = catalogue()
    kept = [] if losses is None else losses
    return build_base(
        held.items,
        held.vectors,
        held.vocabulary,
        HashEmbedder(),
        settings,
        lambda step, steps, loss: kept.append(loss),  # noqa: ARG005 - the callback's signature
    )
