"""Whom each adapter saw, which adapters owe it to a request to go, and which removals from them are not exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, literal, select

from rag_rec.errors import Busy
from rag_rec.layers.records import Erasure
from rag_rec.store.database import chunks
from rag_rec.store.journal import peek
from rag_rec.store.part import Part
from rag_rec.store.records import Debt, MeasuredRemoval
from rag_rec.store.schema import debts, lineage, measured_removals

_OF_ADAPTER = lineage.c.adapter == bindparam("key")
_SEEN = select(lineage.c.user_number, lineage.c.interactions).where(_OF_ADAPTER).order_by(lineage.c.user_number)
_SOME = select(literal(1)).where(_OF_ADAPTER).limit(1)
_ADAPTERS = select(lineage.c.adapter).where(lineage.c.user_number == bindparam("n"))
_DEBTS = select(*debts.c).order_by(debts.c.request_id, debts.c.adapter)
_MEASURED = select(*measured_removals.c).order_by(measured_removals.c.request_id, measured_removals.c.adapter)
_DEBTS_OF = _DEBTS.where(debts.c.request_id == bindparam("key"))


def delete_lineage(connection: Connection, adapters: Sequence[str]) -> None:
    """Forget what is known of adapters that do not exist any more."""
    for adapter in adapters:
        for table in (lineage, debts, measured_removals):
            connection.execute(delete(table).where(table.c.adapter == adapter))


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


class Lineage(Part):
    """Lineage and debts."""

    def put_lineage(
        self, adapter: str, users: Mapping[int, int], epoch: int, measured: Mapping[str, str] | None = None
    ) -> None:
        """Record whom an adapter saw as of ``epoch``, in place of what was recorded. Its debts are settled by that.

        Args:
            adapter: its digest.
            users: how many interactions of each user it saw, by number.
            epoch: of the store.
            measured: what was measured, JSON, by the id of each request that was removed in a way that is not exact.

        Raises:
            Busy: something was removed from the store since that epoch.
        """
        rows = [{"adapter": adapter, "user_number": int(user), "interactions": int(n)} for user, n in users.items()]
        with self._database.writer() as connection:
            if peek(connection, "erasure") > epoch:
                raise Busy("A person was forgotten while the adapter was trained: it may not be used. Train it again.")
            delete_lineage(connection, [adapter])
            if rows:
                connection.execute(insert(lineage), rows)
            if measured:
                told = [{"request_id": each, "adapter": adapter, "measured": body} for each, body in measured.items()]
                connection.execute(insert(measured_removals), told)

    def lineage(self, adapter: str) -> dict[int, int]:
        """Whom an adapter saw: how many interactions, by user number."""
        return dict(self._database.rows(_SEEN, key=adapter))

    def has_lineage(self, adapter: str) -> bool:
        """Whether it is recorded of any person that an adapter saw them."""
        return bool(self._database.rows(_SOME, key=adapter))

    def adapters_of(self, user_number: int) -> list[str]:
        """The adapters that saw a user, sorted."""
        return sorted(adapter for (adapter,) in self._database.rows(_ADAPTERS, n=int(user_number)))

    def drop_lineage(self, adapters: Sequence[str]) -> None:
        """Forget the lineage, the debts and the measured removals of adapters that do not exist any more."""
        with self._database.writer() as connection:
            delete_lineage(connection, adapters)

    def measured_removals(self) -> list[MeasuredRemoval]:
        """Removals that are not exact, by (request, adapter)."""
        return [MeasuredRemoval(*row) for row in self._database.rows(_MEASURED)]

    def debts(self, request_id: str | None = None) -> list[Debt]:
        """Debts by (request, adapter): all, or one request's."""
        rows = self._database.rows
        return [Debt(*row) for row in (rows(_DEBTS) if request_id is None else rows(_DEBTS_OF, key=request_id))]
