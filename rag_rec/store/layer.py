"""The store: what was deleted at acceptance becomes physically gone."""

from __future__ import annotations

from collections.abc import Sequence

from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.layers.finding import Finding, LayerName
from rag_rec.layers.protocol import QuietLayer, found
from rag_rec.layers.records import ForgetRecord, ForgetState, Group, deadline_of, is_whole
from rag_rec.store.protocol import Store


class StoreLayer(QuietLayer):
    """Overwrites deleted rows, gives free pages back, and empties the write-ahead log."""

    name = LayerName.STORE
    state = ForgetState.ERASED

    def __init__(self, store: Store, pseudonyms: Pseudonyms) -> None:
        self._store = store
        self._pseudonyms = pseudonyms

    def remove(self, group: Group) -> None:  # noqa: ARG002 - the scrub is of the whole file
        """Scrub the database."""
        self._store.scrub()

    def look(self, group: Group) -> Sequence[Finding]:
        """No row that was to go is left, and nothing that was deleted still waits to be overwritten."""
        rows = sum(self._rows(record) for record in group)
        pending = self._store.scrub_pending()
        none = (
            "No row of the person is left" if is_whole(group) else "Of the interactions that were to go, no row is left"
        )
        proof = f"{none}; deleted rows are overwritten, free pages returned and the write-ahead log emptied."
        rest = "Rows that were to go are left, or deleted rows have not been overwritten yet."
        return [found(self.name, not rows and not pending, proof, rest, deadline_of(group), rows=rows)] * len(group)

    def _rows(self, record: ForgetRecord) -> int:
        if record.user_number is None:
            return 0
        person = self._store.user_by_number(record.user_number)
        left = self._store.interactions(record.user_number)
        if record.scope == "user":
            return len(left) + (person is not None)
        refused = {entry.digest for entry in self._store.suppressions([record.subject])}
        return sum(self._pseudonyms.interaction(row.interaction) in refused for row in left)
