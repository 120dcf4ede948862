"""Counters and the change log: how every write gets its numbers and its epochs."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, func, insert, literal, select, update

from rag_rec.store.part import Part
from rag_rec.store.records import Change, ChangeKind
from rag_rec.store.schema import changes, counters

_COUNTER = select(counters.c.value).where(counters.c.name == bindparam("counter"))
_CHANGES = (
    select(changes.c.epoch, changes.c.kind, changes.c.number)
    .where(changes.c.epoch > bindparam("after"))
    .order_by(changes.c.epoch)
)
_OLDEST = select(func.min(changes.c.epoch))
_REMOVALS = (
    select(changes.c.number, func.max(changes.c.epoch))
    .where(changes.c.epoch > bindparam("after"), changes.c.kind == literal(ChangeKind.FORGET.value))
    .group_by(changes.c.number)
)


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


class Journal(Part):
    """The change log and the counters."""

    def epoch(self) -> int:
        """Sequence number of the newest change."""
        return self._value("epoch")

    def erasure_epoch(self) -> int:
        """The newest epoch at which something was removed, 0 if never."""
        return self._value("erasure")

    def suppressed_events(self) -> int:
        """How many events were refused so far because a person had been forgotten."""
        return self._value("suppressed")

    def changes(self, after: int) -> list[Change]:
        """Changes with ``epoch > after``, oldest first."""
        rows = self._database.rows(_CHANGES, after=after)
        return [Change(epoch, ChangeKind(kind), number) for epoch, kind, number in rows]

    def removals(self, after: int) -> dict[int, int] | None:
        """Newest epochs of removals after an epoch, by user number; None where the log does not go back so far."""
        oldest = self._database.rows(_OLDEST)[0][0]
        begins = int(oldest) - 1 if oldest is not None else self.epoch()
        return dict(self._database.rows(_REMOVALS, after=after)) if after >= begins else None

    def _value(self, counter: str) -> int:
        return int(self._database.rows(_COUNTER, counter=counter)[0][0])
