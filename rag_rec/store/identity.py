"""The random id of a store, made once with its tables. It names the system: a backup takes it along, and a store that
is restored from the backup has it again, so that the data folders of the system still know it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, insert, select

from rag_rec.store.part import Part
from rag_rec.store.schema import identity

_NAME: Final = "store"
_value = select(identity.c.value).where(identity.c.name == _NAME)


def peek_identity(connection: Connection) -> str:
    """The id in the caller's transaction."""
    found: str = connection.execute(_value).scalar_one()
    return found


def replace_identity(connection: Connection, value: str) -> None:
    """Replace the id."""
    connection.execute(delete(identity))
    connection.execute(insert(identity), {"name": _NAME, "value": value})


class Identity(Part):
    """The id of the store."""

    def identity(self) -> str:
        """The id, 32 hexadecimal digits. It is read anew at each call: a restore may have replaced it."""
        return str(self._database.rows(_value)[0][0])
