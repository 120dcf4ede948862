"""What the database's errors mean to a caller: the store is away, full, lost, busy, or not ours.

The errors of the drivers quote statements and values. What is raised here names neither data nor a path, since it may
leave over HTTP; where the fault lies, and its code, is logged.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy.exc import DBAPIError

from rag_rec.errors import Busy, DiskFull, IncompatibleStore, RagRecError, StoreAway, StoreLost

log = structlog.get_logger()

_AWAY: Final = (
    "The store cannot be reached or used at present; nothing was changed. Try again later: the service goes on by "
    "itself when the store is back. The log says where the fault lies."
)
_FULL: Final = (
    "The disk of the store is full; nothing was changed. Try again when there is room on it: the service goes on by "
    "itself. The log names the disk."
)
_BUSY: Final = "Another process has been writing to the store for too long; try again."
_FOREIGN: Final = (
    "The store's file is not a SQLite database or is damaged. Point RAGREC_HOME or RAGREC_STORE_URL at the right file, "
    "or restore it from a backup."
)
_SQLITE: Final[dict[int, tuple[type[RagRecError], str]]] = {
    sqlite3.SQLITE_FULL: (DiskFull, _FULL),
    sqlite3.SQLITE_IOERR: (StoreAway, _AWAY),
    sqlite3.SQLITE_READONLY: (StoreAway, _AWAY),
    sqlite3.SQLITE_CANTOPEN: (StoreAway, _AWAY),
    sqlite3.SQLITE_BUSY: (Busy, _BUSY),
    sqlite3.SQLITE_LOCKED: (Busy, _BUSY),
    sqlite3.SQLITE_CORRUPT: (IncompatibleStore, _FOREIGN),
    sqlite3.SQLITE_NOTADB: (IncompatibleStore, _FOREIGN),
}
_SQLSTATES: Final[dict[str, tuple[type[RagRecError], str]]] = {
    "53100": (DiskFull, _FULL),
    "55P03": (Busy, _BUSY),  # a lock was not to be had in time
    "40P01": (Busy, _BUSY),  # a deadlock
    "40001": (Busy, _BUSY),
    "25006": (StoreAway, _AWAY),  # the server has become one that only reads
}
_SQLSTATE_CLASSES: Final[dict[str, tuple[type[RagRecError], str]]] = {
    "08": (StoreAway, _AWAY),  # the connection
    "53": (StoreAway, _AWAY),  # memory, connections
    "57": (StoreAway, _AWAY),  # the server stops or starts
    "58": (StoreAway, _AWAY),  # its disk
}
_TABLES_GONE: Final = frozenset({"42P01", "3D000", "3F000"})
_PRIMARY: Final = 0xFF  # SQLite's result code without what it adds to it


@contextmanager
def translated_errors(place: str = "") -> Iterator[None]:
    """Turn the driver's errors that a caller can act on into the product's own.

    Args:
        place: where the database lies, for the log; no secret may be in it.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        found = _meaning(error, place)
        if found is None:
            raise
        raise found from None
    except Exception as error:
        found = _meaning(error, place) if _is_psycopg(error) else None
        if found is None:
            raise
        raise found from None


def lost(place: str, why: str) -> StoreLost:
    """The error that says that the store is not the one that was opened."""
    log.error("store_lost", code=StoreLost.code, place=place, reason=why)
    return StoreLost(
        f"The store that this process opened is not there any more ({why}): nothing is taken, and none is made in its "
        "place. Put the store back, or stop this process and start it again on the right one."
    )


def _meaning(error: Exception, place: str) -> RagRecError | None:
    """The product's own error for one of a driver's; None for a defect."""
    cause: Any = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, place)
    return _of_postgresql(cause, place)


def _of_sqlite(error: sqlite3.Error, place: str) -> RagRecError | None:
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return lost(place, "its file was moved or removed")
    kind, words = _SQLITE.get(code & _PRIMARY, (None, ""))
    if kind is StoreAway and _has_no_room(place):
        kind, words = DiskFull, _FULL
    if kind is None:
        return None
    return _told(kind, words, place, error.sqlite_errorname)


def _of_postgresql(error: Any, place: str) -> RagRecError | None:
    state = getattr(error, "sqlstate", None)
    if state in _TABLES_GONE:
        return lost(place, "the database has no such tables")
    if state is None:  # before there is a connection, the driver has only words, which name host, port and role
        return _told(StoreAway, _AWAY, place, _first_line(error)) if _is_connection_failure(error) else None
    kind, words = _SQLSTATES.get(state) or _SQLSTATE_CLASSES.get(state[:2]) or (None, "")
    return None if kind is None else _told(kind, words, place, state)


def _told(kind: type[RagRecError], words: str, place: str, reason: str) -> RagRecError:
    if kind in (DiskFull, StoreAway):
        log.error("store_failed", code=kind.code, place=place, reason=reason)
    return kind(words)


def _is_psycopg(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "psycopg"


def _is_connection_failure(error: Exception) -> bool:
    names = {each.__name__ for each in type(error).__mro__}
    return _is_psycopg(error) and bool(names & {"OperationalError", "InterfaceError"})


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]


def _has_no_room(place: str) -> bool:
    """Whether the disk of a SQLite store is full: an error of input or output is often that."""
    try:
        return os.statvfs(Path(place).parent).f_bavail == 0
    except OSError:
        return False
