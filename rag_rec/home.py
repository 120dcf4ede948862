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
        WrongKey: the pseudonym key is lost, or not the one that the store was written with.
    """
    return open_store(settings.database_url, _limits(settings), open_pseudonyms(settings))


def store_without_keys(settings: Settings) -> SqlStore:
    """The system's store for whoever only reads it: no key is needed, and none is made.

    Raises:
        IncompatibleStore: the database is damaged, something else, or was written by a newer version.
        InvalidInput: the URL cannot be used.
    """
    return open_store(settings.database_url, _limits(settings))


def _limits(settings: Settings) -> Limits:
    return Limits(settings.max_text_characters)
