"""Opens what the settings name."""

from __future__ import annotations

from typing import Final

import structlog

from rag_rec.artifacts.private import close_off
from rag_rec.errors import NoSystem
from rag_rec.home.keys import open_pseudonyms
from rag_rec.settings import Settings
from rag_rec.store import SqlStore, open_store
from rag_rec.store.presence import absence
from rag_rec.validation import Limits

log = structlog.get_logger()

_OURS: Final = (
    *("generations", "compact", "gates", "keys", "rejects", "place*", ".place*"),
    *("store.sqlite3*", "ledger.jsonl*", "*.lock"),
)
"""What lies in a home."""


def store_of(settings: Settings) -> SqlStore:
    """The system's store, which refuses what was forgotten. Begins a system where there is none.

    Raises:
        IncompatibleStore: the database is damaged, something else, or was written by a newer version.
        InvalidInput: the URL cannot be used.
        WrongKey: the pseudonym key is lost, or not the one that the store was written with.
        Insecure: others can read a file of the system, and only another user can change that.
    """
    close_home(settings)
    return open_store(settings.database_url, _limits(settings), open_pseudonyms(settings))


def existing_store_of(settings: Settings) -> SqlStore:
    """The store of a system that is there already, as :func:`store_of` opens it.

    Callers that only ask, or change what is there, open it this way: a new, empty system would answer that no person is
    known.

    Raises:
        NoSystem: there is none; nothing was made.
        IncompatibleStore: the database is damaged, something else, or was written by a newer version.
        InvalidInput: the URL cannot be used.
        WrongKey: the pseudonym key is lost, or not the one that the store was written with.
    """
    check_system(settings)
    return store_of(settings)


def store_without_keys(settings: Settings) -> SqlStore:
    """The store of a system that is there already, for callers that only read it: no key is needed, and none is made.

    Raises:
        NoSystem: there is none; nothing was made.
        IncompatibleStore: the database is damaged, something else, or was written by a newer version.
        InvalidInput: the URL cannot be used.
    """
    check_system(settings)
    close_home(settings)
    return open_store(settings.database_url, _limits(settings))


def check_system(settings: Settings) -> None:
    """Raise ``NoSystem`` unless there is a store where the settings say. Makes nothing."""
    lacking = absence(settings.database_url)
    if lacking is None:
        return
    if settings.store_url is None:
        place, setting = f"at {settings.home.absolute()}", "RAGREC_HOME"
    else:  # a URL may have a password in it
        place, setting = "where RAGREC_STORE_URL says", "RAGREC_STORE_URL"
    raise NoSystem(
        f"There is no system {place} ({lacking}): set {setting}, or begin with `rag-rec ingest` or `rag-rec restore`."
    )


def close_home(settings: Settings) -> None:
    """Take the rights of others from what an earlier version, or another program, left open to them.

    Keys are left as they are: one that others could read is refused instead, for it may be known. So is a home in which
    other things lie, too; nothing of ours in it is open.

    Raises:
        Insecure: something is open to others and belongs to another user.
    """
    home = settings.home.resolve()
    if not home.is_dir():
        return
    inside = list(home.iterdir())
    ours = [path for path in inside if any(path.match(pattern) for pattern in _OURS)]
    for path in ours:
        close_off(path, inside=path.name != settings.keys.name)
    if ours and len(ours) == len(inside):
        close_off(home, inside=False)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.max_text_characters)
