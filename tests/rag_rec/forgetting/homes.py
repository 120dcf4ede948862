"""A small system with one person who is easy to find: unmistakable id and texts."""

from __future__ import annotations

from rag_rec.domain import Interaction
from rag_rec.engine.engine import Engine
from rag_rec.store.protocol import Store
from tests.homes import ITEMS

DAY = 86_400_000
CANARY = "canary-7f3a9c"
CANARY_TEXT = "unmistakable words of a person who leaves"


def log(own_texts: bool = True) -> list[Interaction]:
    """Five others, and the canary with six interactions."""
    others = [
        Interaction(f"user-{u}", ITEMS[(u + n) % len(ITEMS)].id, (100 + n) * DAY, "like")
        for u in range(5)
        for n in range(5)
    ]
    own = [
        Interaction(
            CANARY, ITEMS[n].id, (200 + n) * DAY, "like", text=f"{CANARY_TEXT} {n}" if own_texts and n % 2 else None
        )
        for n in range(6)
    ]
    return [*others, *own]


def number_of(store: Store, user_id: str) -> int:
    """A user's number."""
    found = store.user(user_id)
    assert found is not None
    return found[0]


def vectors_of(engine: Engine, user_id: str) -> list[bytes]:
    """The stored codes of a user's own vectors and profile, as they lie in files (half precision)."""
    number = number_of(engine.store, user_id)
    profile = engine.live.people.profile(number)
    assert profile is not None
    own = engine.live.people.own_vectors(number).values()
    return [profile.astype("float16").tobytes(), *(vector.astype("float16").tobytes() for vector in own)]
