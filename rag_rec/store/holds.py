"""Legal holds: people who may not be forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, insert, select

from rag_rec.errors import LegalHold
from rag_rec.store.database import Database, chunks
from rag_rec.store.records import Hold
from rag_rec.store.schema import holds


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


class Holds:
    """Reads legal holds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._all = database.query("holds", lambda: select(*holds.c).order_by(holds.c.created, holds.c.subject))

    def all(self) -> list[Hold]:
        """All legal holds, by time."""
        with self._database.reader() as cursor:
            return [Hold(*row) for row in self._all.rows(cursor)]
