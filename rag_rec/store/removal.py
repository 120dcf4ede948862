"""Deletes people's data."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, select

from rag_rec.store.database import chunks
from rag_rec.store.journal import peek, put, record
from rag_rec.store.partitions import mark_people
from rag_rec.store.records import ChangeKind
from rag_rec.store.schema import interactions, users


def remove_users(connection: Connection, user_numbers: Sequence[int]) -> dict[int, int]:
    """Delete users with every interaction; returns how many each had. Those who do not exist are not in the result.

    Writes no change: :func:`record_removal` does.
    """
    gone: dict[int, int] = {}
    mark_people(connection, user_numbers)
    for part in chunks(user_numbers):
        mine = interactions.c.user_number.in_(part)
        gone |= dict.fromkeys(present_users(connection, part), 0)
        counted = select(interactions.c.user_number, func.count()).where(mine).group_by(interactions.c.user_number)
        gone.update((row[0], row[1]) for row in connection.execute(counted))
        connection.execute(delete(interactions).where(mine))
        connection.execute(delete(users).where(users.c.number.in_(part)))
    return gone


def remove_rows(connection: Connection, user_number: int, numbers: Sequence[int]) -> int:
    """Delete some interactions of a user; returns how many. Writes no change: :func:`record_removal` does."""
    mine = delete(interactions).where(interactions.c.user_number == user_number)
    mark_people(connection, [user_number])
    wanted = [int(number) for number in numbers]
    return sum(connection.execute(mine.where(interactions.c.number.in_(part))).rowcount for part in chunks(wanted))


def present_users(connection: Connection, user_numbers: Sequence[int]) -> set[int]:
    """Those of some users who exist."""
    parts = chunks(user_numbers)
    return {
        number
        for part in parts
        for number in connection.execute(select(users.c.number).where(users.c.number.in_(part))).scalars()
    }


def record_removal(connection: Connection, user_numbers: Sequence[int]) -> None:
    """Write one change for each of these users, of whom something was removed, in this order."""
    record(connection, ChangeKind.FORGET, user_numbers)
    put(connection, "erasure", peek(connection, "epoch"))
    put(connection, "scrub", 1)
