"""Right of access: everything that is stored about a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rag_rec.domain import User
from rag_rec.errors import UnknownUser
from rag_rec.store.protocol import Store
from rag_rec.store.records import StoredInteraction


def export(store: Store, user_id: str) -> tuple[User, list[StoredInteraction]]:
    """Everything stored about a user, as of one moment. Raises ``UnknownUser``."""
    while True:
        erased = store.erasure_epoch()
        found = store.user(user_id)
        if found is None:
            raise UnknownUser("There is no user with this id.")
        number, user = found
        rows = store.interactions(number)
        if store.erasure_epoch() == erased:
            return user, rows


def export_document(user: User, interactions: Sequence[StoredInteraction]) -> dict[str, Any]:
    """An export as it is handed over: plain JSON values; ``id`` names an interaction in a forget request."""
    return {
        "user": {"id": user.id, "attributes": dict(user.attributes)},
        "interactions": [_exported(stored) for stored in interactions],
    }


def _exported(stored: StoredInteraction) -> dict[str, Any]:
    interaction = stored.interaction
    return {
        "id": stored.number,
        "item_id": interaction.item_id,
        "event": interaction.event,
        "value": interaction.value,
        "text": interaction.text,
        "time": interaction.time,
    }
