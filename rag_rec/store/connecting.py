"""Makes the engine of a database by its URL, and prepares each connection."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from rag_rec.artifacts.private import FILE_MODE, close_off, make_private_folder
from rag_rec.errors import IncompatibleStore, InvalidInput, needs

BUSY_TIMEOUT_MS: Final = 30_000
SQLITE_SUFFIXES: Final = ("", "-wal", "-shm")
"""Of the names of the files that make up a SQLite database."""

SQLITE_PRAGMAS: tuple[str, ...] = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA auto_vacuum = INCREMENTAL",  # only takes effect on a new file
    "PRAGMA page_size = 4096",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # what was acknowledged survives a power loss
    "PRAGMA secure_delete = ON",  # zeros overwrite what is deleted
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",  # no personal data in temporary files
    "PRAGMA cache_size = -65536",
)
_WAITS: Final = {
    "connect_timeout": 5,  # seconds
    "tcp_user_timeout": 15_000,  # milliseconds until a connection counts as lost on which nothing is acknowledged
    "keepalives_idle": 15,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""How long to wait for a server that does not answer, where the URL does not say."""


def engine_of(url: str) -> Engine:
    """The engine of a database; the file of a new SQLite store is made.

    Raises:
        InvalidInput: the URL cannot be used.
        MissingLibrary: the driver of the database is not installed.
        IncompatibleStore: the file cannot be made.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        waits = {name: value for name, value in _WAITS.items() if name not in parsed.query}
        with needs("postgres"):
            return create_engine(parsed, pool_pre_ping=True, connect_args=waits)
    path = Path(parsed.database or "").absolute()
    _create_file(path)
    engine = create_engine(parsed, pool_size=4, max_overflow=-1, creator=lambda: _open_sqlite(path))
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def file_of(url: str) -> Path | None:
    """The file of a SQLite store; None for another database, and for a URL that opening will refuse."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def place_of(engine: Engine) -> str:
    """Where a database lies, for a log: a path, or host, port and name; never a password."""
    url = engine.url
    if url.get_backend_name() == "sqlite":
        return str(Path(url.database or "").absolute())
    return f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidInput("RAGREC_STORE_URL is not an SQLAlchemy URL; an example is sqlite:////data/s.db.") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise InvalidInput("The store needs a file: give a URL such as sqlite:////data/store.sqlite3.")
    if backend == "sqlite" and parsed.query:
        raise InvalidInput("The URL of a SQLite store takes no parameters: leave out what follows the question mark.")
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


def _open_sqlite(path: Path) -> sqlite3.Connection:
    """Open a file that is there: SQLite would otherwise make an empty store in the place of one that was lost."""
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, check_same_thread=False)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by the "begin" event alone
    for pragma in SQLITE_PRAGMAS:
        connection.execute(pragma)
