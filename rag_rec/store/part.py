"""What the parts of the store have in common."""

from __future__ import annotations

from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.store.database import Database
from rag_rec.validation import DEFAULT_LIMITS, Limits


class Part:
    """Reads and writes one kind of rows. :class:`rag_rec.store.sql.SqlStore` is all parts together.

    The methods of all parts are those of :class:`rag_rec.store.protocol.Store`, which says what they promise; what
    only ingest needs comes on top. A method that writes is one transaction.
    """

    def __init__(
        self, database: Database, limits: Limits = DEFAULT_LIMITS, pseudonyms: Pseudonyms | None = None
    ) -> None:
        self._database = database
        self._limits = limits
        self._pseudonyms = pseudonyms
