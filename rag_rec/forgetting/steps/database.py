"""The store: what was deleted at acceptance becomes physically gone."""

from __future__ import annotations

from collections.abc import Sequence

from rag_rec.forgetting.steps.protocol import Group, deadline_of, found, is_whole
from rag_rec.forgetting.system import System
from rag_rec.layers.finding import Finding, Layer
from rag_rec.store.records import ForgetRecord


class ScrubDatabase:
    """Overwrites deleted rows, gives free pages back, and empties the write-ahead log."""

    name = "store"

    def __init__(self, system: System) -> None:
        self._store = system.store
        self._pseudonyms = system.pseudonyms

    def act(self, group: Group) -> None:  # noqa: ARG002 - the scrub is of the whole file
        """Scrub the database."""
        self._store.scrub()

    def verify(self, group: Group) -> Sequence[Finding]:
        """No row that was to go is left, and nothing that was deleted still waits to be overwritten."""
        rows = sum(self._rows(record) for record in group)
        pending = self._store.scrub_pending()
        none = (
            "No row of the person is left" if is_whole(group) else "Of the interactions that were to go, no row is left"
        )
        proof = f"{none}; deleted rows are overwritten, free pages returned and the write-ahead log emptied."
        rest = "Rows that were to go are left, or deleted rows have not been overwritten yet."
        return [found(Layer.STORE, not rows and not pending, proof, rest, deadline_of(group), rows=rows)]

    def _rows(self, record: ForgetRecord) -> int:
        if record.user_number is None:
            return 0
        person = self._store.user_by_number(record.user_number)
        left = self._store.interactions(record.user_number)
        if record.scope == "user":
            return len(left) + (person is not None)
        refused = {entry.digest for entry in self._store.suppressions([record.subject])}
        return sum(self._pseudonyms.interaction(row.interaction) in refused for row in left)
