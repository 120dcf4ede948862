"""Whether there is a store at all, looked at without making one."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from sqlalchemy import inspect

from rag_rec.store.connecting import file_of
from rag_rec.store.database import Database

_OURS: Final = frozenset({"alembic_version", "counters"})


def absence(url: str) -> str | None:
    """Why there is no store at this URL, for a message; None where there is one. Makes nothing.

    Raises:
        IncompatibleStore: the file is damaged, or no database.
        InvalidInput: the URL cannot be used.
    """
    path = file_of(url)
    if path is not None and not path.is_file():
        return f"{path.name} is missing"
    if path is not None and not path.stat().st_size:
        return f"{path.name} is empty"
    with closing(Database(url)) as database, database.errors(), database.engine.connect() as connection:
        there = _OURS.issubset(inspect(connection).get_table_names())
    return None if there else f"{path.name if path else 'the database'} has no tables of rag-rec"
