"""Connections to the database: a pool of readers, one writer at a time, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.engine import Engine
from sqlalchemy.sql.base import Executable

from rag_rec.store.connecting import engine_of, place_of
from rag_rec.store.faults import lost, translated_errors
from rag_rec.store.schema import counters, identity
from rag_rec.store.watching import FileWatch, is_stale

_IDENTITY = select(identity.c.value).where(identity.c.name == "store")
_LOCK = select(counters.c.name).order_by(counters.c.name).with_for_update(of=counters)
_LOCK_AND_IDENTITY = _LOCK.add_columns(_IDENTITY.scalar_subquery())


class Query:
    """A statement compiled once for a dialect, for reads at request rate: executing it costs the driver's time only."""

    def __init__(self, statement: Executable, engine: Engine) -> None:
        compiled = statement.compile(dialect=engine.dialect)  # type: ignore[attr-defined]
        self.sql = str(compiled)
        self._order: list[str] | None = compiled.positiontup
        self._defaults: dict[str, Any] = dict(compiled.params)

    def rows(self, cursor: Any, **parameters: Any) -> list[tuple[Any, ...]]:
        """Every row of the result."""
        values = {**self._defaults, **parameters}
        cursor.execute(self.sql, [values[name] for name in self._order] if self._order is not None else values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


class Database:
    """An engine whose writes are serialised across processes, so that the change log is in order of commit.

    Reads and writes raise ``StoreAway``, ``DiskFull`` and ``StoreLost``; the last where what was opened is not there
    any more, or where another store is in its place.

    Attributes:
        engine: the database's.
        path: the file of a SQLite store.
        place: where the database lies, for logs.
    """

    def __init__(self, url: str) -> None:
        self.engine = engine_of(url)
        self.path = Path(self.engine.url.database or "").absolute()
        self.place = place_of(self.engine)
        self._idle: deque[Any] = deque()
        self._queries: dict[Any, Query] = {}
        self._closed = False
        self._renewals = 0
        self._watch = FileWatch(self.path) if self.is_sqlite else None
        self._known: str | None = None
        self._closing = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    def query(self, key: Any, build: Callable[[], Executable]) -> Query:
        """The compiled form of the statement that ``build`` returns, remembered under ``key``."""
        query = self._queries.get(key)
        if query is None:
            query = self._queries[key] = Query(build(), self.engine)
        return query

    def rows(self, statement: Executable, **parameters: Any) -> list[tuple[Any, ...]]:
        """Every row that a statement finds now. It is compiled once: give the same object each time."""
        query = self.query(statement, lambda: statement)
        with self.reader() as cursor:
            return query.rows(cursor, **parameters)

    def errors(self) -> AbstractContextManager[None]:
        """Turns the driver's errors into the product's own; the log says that they are of this database."""
        return translated_errors(self.place)

    def recognise(self) -> None:
        """Remember which store this is: from now on, another one in its place is refused."""
        with self.reader() as cursor:
            self._known = self._identity(cursor)

    def check(self) -> None:
        """Raise ``StoreLost`` unless this still is the store that was recognised."""
        with self.reader() as cursor:
            self._compare(self._identity(cursor))

    @contextmanager
    def reader(self) -> Iterator[Any]:
        """A driver's cursor on a connection in autocommit mode; every statement sees the newest commit."""
        self._check_file()
        renewals, connection = self._renewals, self._take_reranker()
        with self.errors():
            try:
                cursor = connection.cursor()
                yield cursor
                cursor.close()
            except BaseException:
                connection.close()
                raise
        if renewals == self._renewals:
            self._give_reranker(connection)
        else:
            connection.close()

    @contextmanager
    def writer(self, durable: bool = True) -> Iterator[Connection]:
        """A write transaction that holds the store's one write lock.

        On return it survives a power loss, as far as the disk keeps its word, unless it is not to be ``durable``.
        """
        self._check_file()
        with self.errors(), self.engine.connect() as connection:
            if not durable and self.is_sqlite:
                connection.connection.driver_connection.execute("PRAGMA synchronous = NORMAL")  # type: ignore[union-attr]
            try:
                with connection.begin():
                    # SQLite is locked by BEGIN IMMEDIATE; elsewhere the rows of the counters are the lock.
                    self._check_rows(connection.execute(_LOCK if self._known is None else _LOCK_AND_IDENTITY).all())
                    yield connection
            finally:
                if not durable and self.is_sqlite:
                    connection.connection.driver_connection.execute("PRAGMA synchronous = FULL")  # type: ignore[union-attr]
        self._check_file()  # what went into a file that was removed meanwhile is lost, and must not be acknowledged

    def fresh_connection(self) -> Any:
        """A driver's connection in autocommit mode; the caller closes it."""
        self._check_file()
        with self.errors():
            pooled = self.engine.raw_connection()
            connection: Any = pooled.driver_connection
            pooled.detach()
            if not self.is_sqlite:
                connection.rollback()
                connection.autocommit = True
        return connection

    def descriptor(self) -> int:
        """A descriptor of the SQLite file, open until the store is closed (see :mod:`rag_rec.store.residue`)."""
        assert self._watch is not None  # noqa: S101 - only SQLite is a file
        return self._watch.descriptor

    def renew(self) -> None:
        """Close the connections that wait to be used, and those in use when they are given back.

        A connection remembers pages, and the values that its statements were asked with last; the cache of compiled
        statements remembers those that each was asked with first.
        """
        self._renewals += 1
        self._close_idle()
        self.engine.clear_compiled_cache()

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        self._close_idle()
        with self._closing:
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
        self.engine.dispose()

    def _check_file(self) -> None:
        if self._watch is not None:
            self._watch.check()

    def _check_rows(self, rows: Sequence[Any]) -> None:
        if self._known is not None:
            self._compare(rows[0][1] if rows else None)

    def _compare(self, found: str | None) -> None:
        if found != self._known:
            raise lost(self.place, "another store is in its place")

    def _identity(self, cursor: Any) -> str | None:
        rows = self.query("identity of the store", lambda: _IDENTITY).rows(cursor)
        return str(rows[0][0]) if rows else None

    def _take_reranker(self) -> Any:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if self.is_sqlite or not is_stale(connection):
                    return connection
                connection.close()
        connection = self.fresh_connection()
        if self._known is not None:  # the one before may have ended because the database was made anew
            try:
                with self.errors():
                    self._compare(self._identity(connection.cursor()))
            except BaseException:
                connection.close()
                raise
        return connection

    def _give_reranker(self, connection: Any) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()


def chunks(values: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """Slices short enough for an SQL ``IN`` list (SQLite builds allow as few as 999 parameters)."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
