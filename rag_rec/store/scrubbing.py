"""Makes deletions physical: afterwards no byte of what was deleted lies in the database's files."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import select

from rag_rec.errors import Busy
from rag_rec.store.database import Database
from rag_rec.store.residue import MAX_PAGES, zero_residue
from rag_rec.store.rewriting import rewrite_marked
from rag_rec.store.schema import counters

_ATTEMPTS = 20
_PENDING = select(counters.c.value).where(counters.c.name == "scrub")


def scrub_pending(database: Database) -> bool:
    """Whether something was deleted since the last scrub."""
    return bool(database.rows(_PENDING)[0][0])


def scrub(database: Database) -> None:
    """Make what was deleted disappear from the files.

    On SQLite the freed pages go back to the file system, the write-ahead log is emptied, and what lies in the
    unallocated part of pages is zeroed: time in proportion to the size of the file. On PostgreSQL the partitions in
    which something was deleted are rewritten (see :mod:`rag_rec.store.rewriting`); its own write-ahead log and backups
    are outside the reach of a client and follow the server's retention.

    Raises:
        Busy: if a reader held an old snapshot for longer than the busy timeout.
    """
    if not scrub_pending(database):
        return
    if not database.is_sqlite:
        rewrite_marked(database)
        return
    # A connection of its own: its page cache must not outlive what is done to the file behind its back.
    with database.errors(), closing(database.fresh_connection()) as connection:
        _scrub_file(database, connection)


def _scrub_file(database: Database, connection: Any) -> None:
    page_bytes, pages = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count"))
    if not hasattr(os, "pwrite") or pages >= MAX_PAGES:
        connection.execute("VACUUM")
        connection.execute("UPDATE counters SET value = 0 WHERE name = 'scrub'")
        _empty_log(connection)
        return
    for _ in range(_ATTEMPTS):
        # As a script it runs to its end; executed as a query, it would give back one page.
        connection.executescript("PRAGMA incremental_vacuum")
        _empty_log(connection)
        connection.execute("BEGIN IMMEDIATE")
        if _log_bytes(database) == 0:
            zero_residue(database.descriptor(), page_bytes)
            # This commit also makes every other connection drop its cached pages, which still hold the residue.
            connection.execute("UPDATE counters SET value = 0 WHERE name = 'scrub'")
            connection.execute("COMMIT")
            return
        connection.execute("ROLLBACK")  # somebody wrote in between
    raise Busy("The store is being written to without a pause; scrub again later.")


def _empty_log(connection: Any) -> None:
    blocked = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if blocked:
        raise Busy("Another process is still reading what was deleted; scrub again when it has finished.")


def _log_bytes(database: Database) -> int:
    log = Path(f"{database.path}-wal")
    return log.stat().st_size if log.exists() else 0
