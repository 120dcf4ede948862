"""Counters and the change log: how every write gets its numbers and its epochs."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Select, bindparam, func, insert, literal, select, update

from rag_rec.store.database import Database
from rag_rec.store.records import Change, ChangeKind
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


def put(connection: Connection, counter: str, value: int) -> None:
    """Set a counter."""
    connection.execute(update(counters).where(counters.c.name == counter).values(value=value))


def record(connection: Connection, kind: ChangeKind, numbers: Iterable[int]) -> None:
    """Append one change for each number."""
    changed = list(numbers)
    if not changed:
        return
    first = take(connection, "epoch", len(changed)) + 1
    rows = [{"epoch": first + row, "kind": kind.value, "number": number} for row, number in enumerate(changed)]
    connection.execute(insert(changes), rows)


def _removals() -> Select[tuple[int, int]]:
    newest = select(changes.c.number, func.max(changes.c.epoch)).group_by(changes.c.number)
    return newest.where(changes.c.epoch > bindparam("after"), changes.c.kind == literal(ChangeKind.FORGET.value))


class Journal:
    """Reads the change log."""

    def __init__(self, database: Database) -> None:
        self._database = database
        named = select(counters.c.value).where(counters.c.name == bindparam("counter"))
        self._counter = database.query("counter", lambda: named)

    def epoch(self) -> int:
        """Sequence number of the newest change."""
        return self._value("epoch")

    def erasure_epoch(self) -> int:
        """The newest epoch at which something was removed, 0 if never."""
        return self._value("erasure")

    def suppressed_events(self) -> int:
        """How many events were refused so far because somebody had been forgotten."""
        return self._value("suppressed")

    def changes(self, after: int) -> list[Change]:
        """Changes with ``epoch > after``, oldest first."""
        statement = select(changes.c.epoch, changes.c.kind, changes.c.number).order_by(changes.c.epoch)
        query = self._database.query("changes", lambda: statement.where(changes.c.epoch > bindparam("after")))
        with self._database.reader() as cursor:
            return [Change(epoch, ChangeKind(kind), number) for epoch, kind, number in query.rows(cursor, after=after)]

    def removals(self, after: int) -> dict[int, int] | None:
        """Newest epochs of removals after an epoch, by user number; None where the log does not go back so far."""
        with self._database.reader() as cursor:
            oldest = self._database.query("oldest change", lambda: select(func.min(changes.c.epoch))).rows(cursor)[0][0]
            begins = int(oldest) - 1 if oldest is not None else self.epoch()
            if after < begins:
                return None
            rows = self._database.query("removals", _removals).rows(cursor, after=after)
        return dict(rows)

    def _value(self, counter: str) -> int:
        with self._database.reader() as cursor:
            return int(self._counter.rows(cursor, counter=counter)[0][0])
