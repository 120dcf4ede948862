"""Users in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from rag_rec.domain import User
from rag_rec.store.database import chunks
from rag_rec.store.encoding import decode_attributes, encode_attributes
from rag_rec.store.journal import record, take
from rag_rec.store.part import Part
from rag_rec.store.records import ChangeKind
from rag_rec.store.schema import users

_COLUMNS = (users.c.number, users.c.id, users.c.attributes)
_BY_ID = select(*_COLUMNS).where(users.c.id == bindparam("key"))
_BY_NUMBER = select(*_COLUMNS).where(users.c.number == bindparam("n"))
# By id, which names the one partition on PostgreSQL; a number would be looked for in all of them.
_UPDATE = update(users).where(users.c.id == bindparam("target")).values(attributes=bindparam("new"))


def write_users(connection: Connection, incoming: Sequence[User]) -> int:
    """Insert or replace users; the last of several with one id counts. Returns how many were inserted or changed."""
    wanted = {user.id: encode_attributes(user.attributes) for user in incoming}
    stored = _stored(connection, list(wanted))
    changed = {key: stored[key][0] for key in wanted if key in stored and stored[key][1] != wanted[key]}
    created = create_users(connection, [key for key in wanted if key not in stored], wanted)
    if changed:
        rows = [{"target": key, "new": wanted[key]} for key in changed]
        connection.execute(_UPDATE, rows)
    touched = created | changed
    record(connection, ChangeKind.USER, [touched[key] for key in wanted if key in touched])
    return len(touched)


def create_users(
    connection: Connection, ids: Sequence[str], attributes: dict[str, str] | None = None
) -> dict[str, int]:
    """Insert users who do not exist yet. Returns their numbers by id. Writes no change."""
    first = take(connection, "user", len(ids))
    numbers = {key: first + at for at, key in enumerate(ids)}
    texts = attributes or {}
    if ids:
        rows = [{"number": number, "id": key, "attributes": texts.get(key, "{}")} for key, number in numbers.items()]
        connection.execute(insert(users), rows)
    return numbers


def user_numbers(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Numbers of the users who exist, by id."""
    return {key: number for key, (number, _) in _stored(connection, ids).items()}


class People(Part):
    """Reads users; :class:`rag_rec.store.admission.Admission` writes them."""

    def user(self, user_id: str) -> tuple[int, User] | None:
        """A user and their number."""
        rows = self._database.rows(_BY_ID, key=user_id)
        return (rows[0][0], _decode(rows[0])) if rows else None

    def user_by_number(self, number: int) -> User | None:
        """The user with this number, None if there is none (any more)."""
        rows = self._database.rows(_BY_NUMBER, n=int(number))
        return _decode(rows[0]) if rows else None


def _decode(row: Sequence[Any]) -> User:
    return User(row[1], decode_attributes(row[2]))


def _stored(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    stored: dict[str, tuple[int, str]] = {}
    for part in chunks(ids):
        rows = connection.execute(select(users.c.id, users.c.number, users.c.attributes).where(users.c.id.in_(part)))
        stored.update((row.id, (row.number, row.attributes)) for row in rows)
    return stored
