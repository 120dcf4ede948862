"""Brings a store's schema to this version of the product, or says why that cannot be."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, text

from rag_rec.errors import IncompatibleStore
from rag_rec.store.database import Database

HEAD = "0007"
SAME_ROWS = frozenset({"0002", "0003", "0004", "0005", "0006", "0007"})
"""The revisions whose tables, as far as they had them, have the columns of this version: their rows can be taken as
they are."""

_REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
_LOCK = 0x52414752  # an arbitrary key, the same for every process that migrates a PostgreSQL store


def migrate(database: Database) -> None:
    """Create the tables of a new store and upgrade an older one.

    Raises:
        IncompatibleStore: for a store that a newer version wrote, and for a database that is something else.
    """
    with database.errors(), database.engine.connect() as connection, connection.begin():
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        revision = _revision(connection)
        if revision == HEAD:
            return
        if revision is not None and revision not in _REVISIONS:
            raise IncompatibleStore(
                "The store was written by a newer version of rag-rec. Install that version, or restore a backup."
            )
        upgrade(connection)


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Apply the migrations up to a revision, in the caller's transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _revision(connection: Connection) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if "alembic_version" not in tables or "counters" not in tables:
        raise IncompatibleStore(
            "The database holds tables of something else than rag-rec. Point RAGREC_STORE_URL at an empty database."
        )
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision or "none"
