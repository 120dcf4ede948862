"""Opens what the settings name."""

from __future__ import annotations

from rag_rec.keys import open_pseudonyms
from rag_rec.settings import Settings
from rag_rec.store import SqlStore, open_store
from rag_rec.validation import Limits


def store_of(settings: Settings) -> SqlStore:
    """The system's store, which refuses what was forgotten.

    Raises:
        IncompatibleStore: the database is damaged, something else, or was written by a newer version.
        InvalidInput: the URL cannot be used.
        WrongKey: the pseudonym key is not the one that the store was written with.
    """
    limits = Limits(settings.max_text_characters)
    return open_store(settings.database_url, limits, open_pseudonyms(settings))
