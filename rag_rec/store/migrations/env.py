"""Alembic's entry point: migrates over the connection that :mod:`rag_rec.store.migration` hands in."""

from __future__ import annotations

from alembic import context

from rag_rec.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
