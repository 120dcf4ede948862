"""Whom each adapter saw, and which adapters still owe it to somebody to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, literal, select

from rag_rec.errors import Busy
from rag_rec.layers.records import Erasure
from rag_rec.store.database import Database, chunks
from rag_rec.store.journal import peek
from rag_rec.store.records import Debt
from rag_rec.store.schema import debts, lineage


def write_lineage(connection: Connection, adapter: str, users: Mapping[int, int], epoch: int) -> None:
    """Record whom an adapter saw as of ``epoch``, in place of what was recorded. Its debts are settled by that.

    Raises:
        Busy: something was removed from the store since that epoch.
    """
    if peek(connection, "erasure") > epoch:
        raise Busy("Somebody was forgotten while the adapter was trained: it may not be used. Train it again.")
    delete_lineage(connection, [adapter])
    if users:
        rows = [
            {"adapter": adapter, "user_number": int(user), "interactions": int(seen)} for user, seen in users.items()
        ]
        connection.execute(insert(lineage), rows)


def delete_lineage(connection: Connection, adapters: Sequence[str]) -> None:
    """Forget lineage and debts of adapters that do not exist any more."""
    for adapter in adapters:
        connection.execute(delete(lineage).where(lineage.c.adapter == adapter))
        connection.execute(delete(debts).where(debts.c.adapter == adapter))


def incur_debts(connection: Connection, erasures: Sequence[Erasure]) -> None:
    """Record which adapters saw the people of new requests, and take whole users out of every lineage."""
    requests = {erasure.user_number: erasure.request_id for erasure in erasures}
    for part in chunks(list(requests)):
        saw = select(lineage.c.adapter, lineage.c.user_number).where(lineage.c.user_number.in_(part))
        owed = [{"request_id": requests[row.user_number], "adapter": row.adapter} for row in connection.execute(saw)]
        if owed:
            connection.execute(insert(debts), owed)
    whole = [erasure.user_number for erasure in erasures if erasure.interactions is None]
    for part in chunks(whole):
        connection.execute(delete(lineage).where(lineage.c.user_number.in_(part)))


class Lineage:
    """Reads lineage and debts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        seen = select(lineage.c.user_number, lineage.c.interactions).order_by(lineage.c.user_number)
        adapters = select(lineage.c.adapter)
        some = select(literal(1)).limit(1)
        owed = select(*debts.c).order_by(debts.c.request_id, debts.c.adapter)
        self._seen = database.query("lineage", lambda: seen.where(lineage.c.adapter == bindparam("key")))
        self._some = database.query("has lineage", lambda: some.where(lineage.c.adapter == bindparam("key")))
        self._adapters = database.query("adapters", lambda: adapters.where(lineage.c.user_number == bindparam("n")))
        self._debts = database.query("debts", lambda: owed)
        self._debts_of = database.query("debts of", lambda: owed.where(debts.c.request_id == bindparam("key")))

    def of(self, adapter: str) -> dict[int, int]:
        """Whom an adapter saw: how many interactions, by user number."""
        with self._database.reader() as cursor:
            return dict(self._seen.rows(cursor, key=adapter))

    def exists(self, adapter: str) -> bool:
        """Whether it is recorded of anybody that an adapter saw them."""
        with self._database.reader() as cursor:
            return bool(self._some.rows(cursor, key=adapter))

    def adapters_of(self, user_number: int) -> list[str]:
        """The adapters that saw a user, sorted."""
        with self._database.reader() as cursor:
            return sorted(adapter for (adapter,) in self._adapters.rows(cursor, n=int(user_number)))

    def debts(self, request_id: str | None) -> list[Debt]:
        """Debts by (request, adapter): all, or one request's."""
        with self._database.reader() as cursor:
            rows = self._debts.rows(cursor) if request_id is None else self._debts_of.rows(cursor, key=request_id)
        return [Debt(*row) for row in rows]
