"""Legal holds: people who may not be forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, insert, select

from rag_rec.errors import LegalHold
from rag_rec.store.database import chunks
from rag_rec.store.part import Part
from rag_rec.store.records import Hold
from rag_rec.store.schema import holds
from rag_rec.store.seals import recognising, seal

_ALL = select(*holds.c).order_by(holds.c.created, holds.c.subject)


def write_hold(connection: Connection, hold: Hold) -> None:
    """Insert or replace a legal hold."""
    delete_hold(connection, hold.subject)
    connection.execute(insert(holds), asdict(hold))


def delete_hold(connection: Connection, subject: str) -> bool:
    """Lift a legal hold. Returns whether there was one."""
    return connection.execute(delete(holds).where(holds.c.subject == subject)).rowcount > 0


def check_no_hold(connection: Connection, subjects: Sequence[str]) -> None:
    """Raise ``LegalHold`` if one of these people may not be forgotten."""
    for part in chunks(subjects):
        reasons = select(holds.c.reason).where(holds.c.subject.in_(part)).order_by(holds.c.created, holds.c.subject)
        reason = connection.execute(reasons).scalars().first()
        if reason is not None:
            raise LegalHold(
                f"This person may not be forgotten: {reason}. Nothing was removed; lift the hold first, "
                "or leave the person out of the batch."
            )


class Holds(Part):
    """Legal holds."""

    def put_hold(self, hold: Hold) -> None:
        """Insert or replace a legal hold. Raises ``WrongKey`` without the key that recognises people."""
        with self._database.writer() as connection:
            seal(connection, self._pseudonyms)
            write_hold(connection, hold)

    def drop_hold(self, subject: str) -> bool:
        """Lift a legal hold. Returns whether there was one. Raises ``WrongKey`` as :meth:`put_hold` does."""
        with self._database.writer() as connection:
            recognising(connection, self._pseudonyms)
            lifted = delete_hold(connection, subject)
            if lifted:  # the key named the person, so that it is the one that the holds were placed under
                seal(connection, self._pseudonyms)
            return lifted

    def holds(self) -> list[Hold]:
        """All legal holds, by time."""
        return [Hold(*row) for row in self._database.rows(_ALL)]
