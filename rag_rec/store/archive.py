"""The rows that make up a store: read out in one consistent state, and put back in one transaction.

What can be made again, or belongs to a moment, is left out: the change log (a follower has to start anew),
live replicas and processes, checkpoints of an ingest, and whom the adapters saw, since adapters are not put back
either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final

import polars as pl
from sqlalchemy import Connection, Double, Integer, Table, delete, insert, select
from sqlalchemy.sql.base import Executable

from rag_rec.store.database import Database
from rag_rec.store.migration import migrate
from rag_rec.store.partitions import mark_everything
from rag_rec.store.schema import (
    changes,
    counters,
    debts,
    events,
    forget_requests,
    holds,
    identity,
    ingest_checkpoints,
    interactions,
    items,
    ledger,
    lineage,
    measured_removals,
    places,
    replicas,
    seals,
    service_processes,
    suppressions,
    users,
)

ARCHIVED: Final[tuple[Table, ...]] = (
    *(counters, identity, seals, events, items, users, interactions),
    *(forget_requests, suppressions, ledger, holds, places),
)
"""The tables that are kept, each after those that it refers to."""

BATCH: Final = 20_000
"""Rows in memory at once."""

_DROPPED: Final[tuple[Table, ...]] = (
    *(changes, replicas, service_processes, ingest_checkpoints),
    *(lineage, debts, measured_removals),
)


class Snapshot:
    """One state of a store, whatever is written meanwhile."""

    def __init__(self, database: Database, connection: Any) -> None:
        self._database = database
        self._connection = connection

    def frames(self, table: Table) -> Iterator[pl.DataFrame]:
        """All rows of a table in order of its key, at most :data:`BATCH` at a time."""
        ordered = select(*table.c).order_by(*table.primary_key.columns)
        for rows in self._batches(ordered):
            yield pl.DataFrame(rows, schema=_types(table), orient="row")

    def _batches(self, statement: Executable) -> Iterator[list[tuple[Any, ...]]]:
        # On PostgreSQL a cursor with a name stays at the server, so that not all rows are sent at once.
        named = () if self._database.is_sqlite else ("archive",)
        with closing(self._connection.cursor(*named)) as cursor:
            cursor.execute(str(statement.compile(dialect=self._database.engine.dialect)))  # type: ignore[attr-defined]
            while rows := cursor.fetchmany(BATCH):
                yield rows


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """A database with the tables of this version, closed at the end. Raises ``IncompatibleStore``, ``InvalidInput``."""
    with closing(Database(url)) as database:
        migrate(database)
        yield database


@contextmanager
def snapshot(database: Database) -> Iterator[Snapshot]:
    """One state of a store for as long as the context lasts. Writers go on; a scrub waits for its end."""
    with database.errors(), closing(database.fresh_connection()) as connection:
        connection.execute("BEGIN" if database.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield Snapshot(database, connection)


def clear(connection: Connection) -> None:
    """Delete every row of every table."""
    mark_everything(connection)
    for table in (*_DROPPED, *reversed(ARCHIVED)):
        connection.execute(delete(table))


def load(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Insert rows that :meth:`Snapshot.frames` gave, of this database or another.

    The driver itself does it: through the expression layer half a million rows would cost seconds.
    """
    names = ", ".join(column.name for column in table.c)
    cursor: Any = connection.connection.cursor()
    try:
        if connection.dialect.name == "sqlite":
            places = ", ".join("?" * len(table.c))
            cursor.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({places})", frame.rows())  # noqa: S608
        else:
            _copy(cursor, f"COPY {table.name} ({names}) FROM STDIN", frame.iter_rows())
    finally:
        cursor.close()


def read_counters(connection: Connection) -> dict[str, int]:
    """All counters by name."""
    return {row.name: row.value for row in connection.execute(select(counters))}


def write_counters(connection: Connection, values: Mapping[str, int]) -> None:
    """Insert all counters."""
    connection.execute(insert(counters), [{"name": name, "value": value} for name, value in values.items()])


def _copy(cursor: Any, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _types(table: Table) -> dict[str, pl.DataType]:
    """Types of the columns, the same for every database."""
    return {column.name: _type(column.type) for column in table.c}


def _type(kind: object) -> pl.DataType:
    if isinstance(kind, Double):
        return pl.Float64()
    return pl.Int64() if isinstance(kind, Integer) else pl.String()
