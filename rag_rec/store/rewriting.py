"""Makes deletions physical on PostgreSQL: rewrites the partitions that hold what was deleted, and no other."""

from __future__ import annotations

import re
import time
from contextlib import closing
from typing import Any, Final

from sqlalchemy import Connection, text

from rag_rec.errors import Busy
from rag_rec.store.database import Database
from rag_rec.store.partitions import partitions

PATIENCE_SECONDS: Final = 30.0
"""How long to wait for readers that hold a snapshot from before a deletion."""

LOCK_MS: Final = 2_000
"""How long a rewrite may wait for a reader of its partition: other readers of it queue up behind both."""

_PAUSE_SECONDS: Final = 0.1
_LOCK_NOT_AVAILABLE: Final = "55P03"
_OPEN: Final = "SELECT (SELECT value FROM counters WHERE name = 'scrub'), (SELECT count(*) FROM residues WHERE due)"


def rewrite_marked(database: Database) -> None:
    """Rewrite every partition with a mark, each in a moment of its own, and take the marks off.

    A partition that was marked again meanwhile keeps its mark. Where a removal is open without any mark, every
    partition is rewritten: an earlier version marks none.

    Raises:
        Busy: a transaction still sees what was deleted, or holds a partition for too long.
    """
    with database.errors(), closing(database.fresh_connection()) as connection:
        connection.execute(f"SET lock_timeout = {LOCK_MS}")
        marked = dict(connection.execute("SELECT relation, marks FROM residues ORDER BY relation").fetchall())
        open_still, due = connection.execute(_OPEN).fetchone()
        if not open_still:  # another process was faster
            return
        until = time.monotonic() + PATIENCE_SECONDS
        for relation in sorted(marked) if due else partitions():
            _rewrite(connection, relation, until)
    with database.writer() as writing:
        _take_off(writing, marked)


def _rewrite(connection: Any, relation: str, until: float) -> None:
    """Rewrite one partition until nothing deleted is left in it."""
    while True:
        left = _rows_left(connection, relation)
        if left == 0:
            return
        if time.monotonic() >= until:
            raise Busy(
                "Another transaction still sees what was deleted, or reads without a pause; scrub again when it has "
                "ended. Long ones are listed in pg_stat_activity, pg_prepared_xacts and pg_replication_slots."
            )
        time.sleep(_PAUSE_SECONDS)


def _rows_left(connection: Any, relation: str) -> int | None:
    """How many deleted rows a rewrite had to keep for those who may still see them; None if it was not carried out."""
    told: list[str] = []

    def hear(notice: Any) -> None:
        told.append(notice.message_detail or "")

    connection.add_notice_handler(hear)
    try:
        connection.execute(f"VACUUM (FULL, VERBOSE) {relation}")
    except _driver_error() as error:
        if error.sqlstate != _LOCK_NOT_AVAILABLE:
            raise
        return None
    finally:
        connection.remove_notice_handler(hear)
    # The words are in the server's language; the number of dead rows that were kept comes first in any.
    kept = [int(number[0]) for detail in told if (number := re.search(r"\d+", detail))]
    return kept[0] if kept else None


def _driver_error() -> type[Any]:
    """The driver's base of errors; the driver is there only where PostgreSQL is used."""
    import psycopg  # noqa: PLC0415

    return psycopg.Error


def _take_off(connection: Connection, marked: dict[str, int]) -> None:
    taken = text("DELETE FROM residues WHERE relation = :relation AND marks = :marks")
    if marked:
        connection.execute(taken, [{"relation": relation, "marks": marks} for relation, marks in marked.items()])
    # A deletion that came meanwhile has marks of its own, and stays open.
    open_still = "SELECT 1 FROM residues WHERE due"
    connection.execute(text(f"UPDATE counters SET value = 0 WHERE name = 'scrub' AND NOT EXISTS ({open_still})"))  # noqa: S608
