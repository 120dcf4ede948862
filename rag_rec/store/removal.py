"""Deletes people's data."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, update

from rag_rec.store.database import chunks
from rag_rec.store.journal import record
from rag_rec.store.protocol import ChangeKind, Counts
from rag_rec.store.schema import counters, interactions, users


def remove_user(connection: Connection, user_number: int) -> Counts:
    """Delete a user with every interaction; a number that does not exist changes nothing."""
    gone = connection.execute(delete(interactions).where(interactions.c.user_number == user_number)).rowcount
    people = connection.execute(delete(users).where(users.c.number == user_number)).rowcount
    if people:
        _removed(connection, user_number)
    return Counts(users=people, items=0, interactions=gone)


def remove_interactions(connection: Connection, user_number: int, numbers: Sequence[int]) -> int:
    """Delete some interactions of a user; numbers of anybody else's are left alone."""
    mine = delete(interactions).where(interactions.c.user_number == user_number)
    wanted = [int(number) for number in numbers]
    gone = sum(connection.execute(mine.where(interactions.c.number.in_(part))).rowcount for part in chunks(wanted))
    if gone:
        _removed(connection, user_number)
    return gone


def set_scrub_pending(connection: Connection, pending: bool) -> None:
    """Remember, across a crash, whether deleted bytes may still lie in the files."""
    connection.execute(update(counters).where(counters.c.name == "scrub").values(value=int(pending)))


def _removed(connection: Connection, user_number: int) -> None:
    record(connection, ChangeKind.FORGET, [user_number])
    set_scrub_pending(connection, True)
