"""The store over SQLAlchemy Core: opens it, and joins its parts."""

from __future__ import annotations

from contextlib import suppress

from rag_rec.errors import Busy
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.store.acceptance import Acceptance
from rag_rec.store.admission import Admission
from rag_rec.store.catalogue import Catalogue
from rag_rec.store.chain import Chain
from rag_rec.store.checkpoints import Checkpoints
from rag_rec.store.database import Database
from rag_rec.store.histories import Histories
from rag_rec.store.holds import Holds
from rag_rec.store.identity import Identity
from rag_rec.store.journal import Journal
from rag_rec.store.lineage import Lineage
from rag_rec.store.migration import migrate
from rag_rec.store.people import People
from rag_rec.store.places import Places
from rag_rec.store.processes import Processes
from rag_rec.store.replicas import Replicas
from rag_rec.store.requests import Requests
from rag_rec.store.scrubbing import scrub, scrub_pending
from rag_rec.store.seals import check_seal
from rag_rec.store.suppressions import Suppressions
from rag_rec.validation import DEFAULT_LIMITS, Limits


def open_store(url: str, limits: Limits = DEFAULT_LIMITS, pseudonyms: Pseudonyms | None = None) -> SqlStore:
    """Open a store by its SQLAlchemy URL, creating or upgrading its tables.

    Without ``pseudonyms`` nobody can be forgotten or held, and as soon as somebody has been, nobody's data can be
    written.

    Raises:
        IncompatibleStore: if the database is damaged, something else, or was written by a newer version.
        InvalidInput: if the URL cannot be used.
        WrongKey: if people were forgotten or held under another key than that of ``pseudonyms``.
    """
    database = Database(url)
    try:
        migrate(database)
        if pseudonyms is not None:
            check_seal(database, pseudonyms)
        database.recognise()
        with suppress(Busy):  # a crash came between deleting and scrubbing; the next scrub would do it as well
            scrub(database)
    except BaseException:
        database.close()
        raise
    return SqlStore(database, limits, pseudonyms)


class SqlStore(
    Identity,
    Journal,
    Catalogue,
    People,
    Histories,
    Admission,
    Checkpoints,
    Acceptance,
    Requests,
    Chain,
    Suppressions,
    Holds,
    Replicas,
    Places,
    Processes,
    Lineage,
):
    """Implements :class:`rag_rec.store.protocol.Store` on SQLite and PostgreSQL. Thread-safe."""

    def scrub(self) -> None:
        """Make earlier deletions physical."""
        scrub(self._database)

    def scrub_pending(self) -> bool:
        """Whether something was deleted since the last scrub."""
        return scrub_pending(self._database)

    def check(self) -> None:
        """Raise ``StoreLost`` unless this still is the store that was opened."""
        self._database.check()

    def renew_connections(self) -> None:
        """Let go of what connections remember of earlier reads and writes."""
        self._database.renew()

    def close(self) -> None:
        """Release connections."""
        self._database.close()
