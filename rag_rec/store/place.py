"""Where a store that comes from a backup is put: in the database itself or, where its file is missing or damaged, in a
new file that takes its name at the end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from rag_rec.artifacts.destruction import overwrite
from rag_rec.artifacts.private import sync_folder
from rag_rec.errors import InvalidInput
from rag_rec.store.archive import opened
from rag_rec.store.connecting import SQLITE_SUFFIXES, file_of
from rag_rec.store.database import Database


@contextmanager
def place_for(url: str) -> Iterator[Database]:
    """The database in which to put a store. What the context leaves there has to be committed and scrubbed.

    A SQLite file that is damaged is overwritten, and replaced when the context ends without an error; until then it
    stays as it is.

    Raises:
        IncompatibleStore: the database is something else, or was written by a newer version.
        InvalidInput: the URL cannot be used, or the damaged file may be another one, known by a link.
    """
    path = file_of(url)
    if path is None or _is_sound(path):
        with opened(url) as database:
            yield database
        return
    _refuse_links(path)
    aside = path.with_name(f"{path.name}.restoring")
    _destroy(aside)
    try:
        with opened(f"sqlite:///{aside}") as database:
            yield database
    except BaseException:
        _destroy(aside)
        raise
    # Overwritten but not removed: until it is replaced, nobody may take the store for a new, empty one.
    _overwrite(path)
    for suffix in SQLITE_SUFFIXES[1:]:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    aside.replace(path)
    sync_folder(path.parent)


def _refuse_links(path: Path) -> None:
    """A file that has another name may be no store at all, and must not be overwritten under this one."""
    if path.is_symlink() or (path.exists() and path.stat().st_nlink > 1):
        raise InvalidInput(
            f"{path} is a link to a file that is not a sound store; nothing was changed. Remove the link, overwrite "
            "the file that it leads to if that was a store, and restore again."
        )


def _is_sound(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError:
        return True  # it is locked or may not be read, which opening it will say
    except sqlite3.DatabaseError:
        return False


def _overwrite(path: Path) -> None:
    for suffix in SQLITE_SUFFIXES:
        part = Path(f"{path}{suffix}")
        with suppress(FileNotFoundError):
            overwrite(part)


def _destroy(path: Path) -> None:
    _overwrite(path)
    for suffix in SQLITE_SUFFIXES:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
