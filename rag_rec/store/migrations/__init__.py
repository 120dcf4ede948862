"""Alembic migrations of the store, applied by :func:`rag_rec.store.open_store`."""
