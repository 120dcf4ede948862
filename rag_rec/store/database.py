"""Connections to the database: a pool of readers, one writer at a time, on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.sql.base import Executable

from rag_rec.artifacts.private import FILE_MODE, close_off, make_private_folder
from rag_rec.errors import Busy, IncompatibleStore, InvalidInput
from rag_rec.store.residue import descriptors
from rag_rec.store.schema import counters

BUSY_TIMEOUT_MS = 30_000
SQLITE_SUFFIXES = ("", "-wal", "-shm")
"""Of the names of the files that make up a SQLite database."""
_FOREIGN_FILE = ("file is not a database", "malformed", "file is encrypted")

_SQLITE_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA auto_vacuum = INCREMENTAL",  # only takes effect on a new file
    "PRAGMA page_size = 4096",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA secure_delete = ON",  # zeros overwrite what is deleted
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",  # no personal data in temporary files
    "PRAGMA cache_size = -65536",
)


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
    """An engine whose writes are serialised across processes, so that the change log is in order of commit."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._idle: deque[Any] = deque()
        self._queries: dict[Any, Query] = {}
        self._closed = False
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    @property
    def path(self) -> Path:
        """The file of a SQLite store."""
        return Path(self.engine.url.database or "")

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

    @contextmanager
    def reader(self) -> Iterator[Any]:
        """A driver's cursor on a connection in autocommit mode; every statement sees the newest commit."""
        connection = self._take_reader()
        with translated_errors():
            try:
                cursor = connection.cursor()
                yield cursor
                cursor.close()
            except BaseException:
                connection.close()
                raise
        self._give_reader(connection)

    @contextmanager
    def writer(self, durable: bool = False) -> Iterator[Connection]:
        """A write transaction that holds the store's one write lock; ``durable`` survives a power loss on return."""
        with translated_errors(), self.engine.connect() as connection:
            if durable and self.is_sqlite:
                connection.connection.driver_connection.execute("PRAGMA synchronous = FULL")  # type: ignore[union-attr]
            try:
                with connection.begin():
                    # SQLite is locked by BEGIN IMMEDIATE; elsewhere the rows of the counters are the lock.
                    connection.execute(select(counters.c.name).order_by(counters.c.name).with_for_update()).all()
                    yield connection
            finally:
                if durable and self.is_sqlite:
                    connection.connection.driver_connection.execute("PRAGMA synchronous = NORMAL")  # type: ignore[union-attr]

    def fresh_connection(self) -> Any:
        """A driver's connection in autocommit mode; the caller closes it."""
        with translated_errors():
            pooled = self.engine.raw_connection()
            connection: Any = pooled.driver_connection
            pooled.detach()
            if not self.is_sqlite:
                connection.rollback()
                connection.autocommit = True
        return connection

    def descriptor(self) -> int:
        """A descriptor of the SQLite file, open until the store is closed (see :mod:`rag_rec.store.residue`)."""
        with self._lock:
            if self._descriptor is None:
                self._descriptor = descriptors.acquire(self.path)
            return self._descriptor

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        self.engine.dispose()
        with self._lock:
            if self._descriptor is not None:
                descriptors.release(self.path)
                self._descriptor = None

    def _take_reader(self) -> Any:
        with suppress(IndexError):
            return self._idle.pop()
        return self.fresh_connection()

    def _give_reader(self, connection: Any) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the driver's errors that a caller can act on into the product's own."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        message = str(getattr(error, "orig", error))
        if any(phrase in message for phrase in _FOREIGN_FILE):
            raise IncompatibleStore(
                "The store's file is not a SQLite database or is damaged. "
                "Point RAGREC_HOME or RAGREC_STORE_URL at the right file, or restore it from a backup."
            ) from None
        if "locked" in message or "busy" in message:
            raise Busy("Another process has been writing to the store for too long; try again.") from None
        if isinstance(error, OperationalError) and "unable to open" in message:
            raise IncompatibleStore(
                "The store's file cannot be opened: check that its folder exists and can be written."
            ) from None
        raise


def chunks(values: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """Slices short enough for an SQL ``IN`` list (SQLite builds allow as few as 999 parameters)."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def file_of(url: str) -> Path | None:
    """The file of a SQLite store; None for another database, and for a URL that opening will refuse."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _engine(url: str) -> Engine:
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    _create_file(Path(parsed.database or ""))
    engine = create_engine(parsed, pool_size=4, max_overflow=-1, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidInput("RAGREC_STORE_URL is not an SQLAlchemy URL; an example is sqlite:////data/s.db.") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise InvalidInput("The store needs a file: give a URL such as sqlite:////data/store.sqlite3.")
    if backend not in {"sqlite", "postgresql"}:
        raise InvalidInput("The store can be SQLite or PostgreSQL: give a URL with sqlite: or postgresql+psycopg:.")
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def _create_file(path: Path) -> None:
    """Create an empty file that only its owner can read; SQLite gives its journal the same permissions."""
    try:
        make_private_folder(path.parent)
        if not path.exists():
            path.touch(mode=FILE_MODE)
    except OSError as error:
        raise IncompatibleStore(f"The store's file cannot be created: {error.strerror}.") from None
    for suffix in SQLITE_SUFFIXES:
        close_off(Path(f"{path.resolve()}{suffix}"))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by the "begin" event alone
    for pragma in _SQLITE_PRAGMAS:
        connection.execute(pragma)
