"""System of record: users, items, interactions and the change log."""

from rag_rec.store.sql import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]
