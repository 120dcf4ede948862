"""Entries of the hash-chained ledger. What they say, and who signed it, is not the store's business; their order is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select

from rag_rec.errors import BrokenLedger
from rag_rec.store.part import Part
from rag_rec.store.records import LedgerEntry, LedgerTip
from rag_rec.store.schema import ledger

_EMPTY: Final = LedgerTip(0, "0" * 64)
_AFTER = select(*ledger.c).where(ledger.c.sequence > bindparam("after")).order_by(ledger.c.sequence)
_NEWEST = select(*ledger.c).order_by(ledger.c.sequence.desc()).limit(1)
_ONE = select(*ledger.c).where(ledger.c.sequence == bindparam("sequence"))


def tip(connection: Connection) -> LedgerTip:
    """The end of the ledger."""
    newest = select(ledger.c.sequence, ledger.c.digest).order_by(ledger.c.sequence.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return LedgerTip(row.sequence, row.digest) if row else _EMPTY


def append_entries(connection: Connection, after: LedgerTip, entries: Sequence[LedgerEntry]) -> None:
    """Append entries that follow the tip. Raises ``BrokenLedger`` if they do not."""
    end = after
    for entry in entries:
        if (entry.sequence, entry.previous) != (end.sequence + 1, end.digest):
            raise BrokenLedger("The new ledger entries do not follow the newest one; nothing was changed. Try again.")
        end = LedgerTip(entry.sequence, entry.digest)
    if entries:
        connection.execute(insert(ledger), [asdict(entry) for entry in entries])


class Chain(Part):
    """The ledger."""

    def ledger(self, after: int = 0) -> list[LedgerEntry]:
        """Entries with ``sequence > after``, in order."""
        return [LedgerEntry(*row) for row in self._database.rows(_AFTER, after=after)]

    def newest_entry(self) -> LedgerEntry | None:
        """The end of the ledger, None while it is empty."""
        return next((LedgerEntry(*row) for row in self._database.rows(_NEWEST)), None)

    def ledger_entry(self, sequence: int) -> LedgerEntry | None:
        """The entry of this number, None if there is none."""
        return next((LedgerEntry(*row) for row in self._database.rows(_ONE, sequence=sequence)), None)
