"""Counters and the change log: how every write gets its numbers and its epochs."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, insert, select, update

from rag_rec.store.database import Database
from rag_rec.store.protocol import Change, ChangeKind
from rag_rec.store.schema import changes, counters


def take(connection: Connection, counter: str, count: int) -> int:
    """Reserve ``count`` consecutive numbers; returns the first."""
    named = counters.c.name == counter
    first: int = connection.execute(select(counters.c.value).where(named)).scalar_one()
    if count:
        connection.execute(update(counters).where(named).values(value=first + count))
    return first


def peek(connection: Connection, counter: str) -> int:
    """The next number of a counter."""
    return take(connection, counter, 0)


def record(connection: Connection, kind: ChangeKind, numbers: Iterable[int]) -> None:
    """Append one change for each number."""
    changed = list(numbers)
    if not changed:
        return
    first = take(connection, "epoch", len(changed)) + 1
    rows = [{"epoch": first + row, "kind": kind.value, "number": number} for row, number in enumerate(changed)]
    connection.execute(insert(changes), rows)


class Journal:
    """Reads the change log."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._epoch = database.query("epoch", lambda: select(counters.c.value).where(counters.c.name == "epoch"))

    def epoch(self) -> int:
        """Sequence number of the newest change."""
        with self._database.reader() as cursor:
            return int(self._epoch.rows(cursor)[0][0])

    def changes(self, after: int) -> list[Change]:
        """Changes with ``epoch > after``, oldest first."""
        statement = select(changes.c.epoch, changes.c.kind, changes.c.number).order_by(changes.c.epoch)
        query = self._database.query("changes", lambda: statement.where(changes.c.epoch > bindparam("after")))
        with self._database.reader() as cursor:
            return [Change(epoch, ChangeKind(kind), number) for epoch, kind, number in query.rows(cursor, after=after)]
