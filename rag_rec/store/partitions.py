"""Where people's rows lie on PostgreSQL, and which parts of the tables hold what was deleted.

A table there can only be rewritten as a whole, under a lock that keeps out readers. Tables of people are therefore
divided by hash into partitions, and a mark names each partition in which a row was deleted or replaced. Marks are
written in the transaction that deletes: a crash loses neither. On SQLite, where the file is cleaned as a whole, there
are neither partitions nor marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, text

PARTITIONS: Final = {"interactions": 64, "users": 64, "lineage": 32, "forget_requests": 16}
"""How many partitions each table has; they are named ``TABLE_00``, ``TABLE_01`` and so on."""

_BY_NUMBER: Final = ("interactions", "lineage")
_ADD: Final = (
    "ON CONFLICT (relation) DO UPDATE SET due = residues.due OR excluded.due, marks = residues.marks + excluded.marks"
)


def mark_people(connection: Connection, user_numbers: Sequence[int]) -> None:
    """Mark the partitions in which rows of some users lie, or have lain. Must come before the users are deleted."""
    if _is_partitioned(connection) and user_numbers:
        numbers = {"keys": [int(number) for number in user_numbers]}
        for table in _BY_NUMBER:
            connection.execute(text(_marking(table, "bigint", due=True)), numbers)
        connection.execute(text(_MARK_USERS), numbers)


def mark_requests(connection: Connection, request_ids: Sequence[str]) -> None:
    """Mark the partitions of forget requests whose records are about to be replaced.

    Replaced records hold at most a number that names nobody any more: they go with the next removal, and are no reason
    for a rewrite of their own.
    """
    if _is_partitioned(connection) and request_ids:
        connection.execute(text(_marking("forget_requests", "text", due=False)), {"keys": list(request_ids)})


def mark_everything(connection: Connection) -> None:
    """Mark every partition: all rows are about to be replaced."""
    if _is_partitioned(connection):
        rows = [{"relation": relation} for relation in partitions()]
        connection.execute(text(_MARK_NAMED), rows)


def partitions() -> list[str]:
    """The names of all partitions."""
    return [_name(table, part) for table, count in PARTITIONS.items() for part in range(count)]


def _is_partitioned(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _name(table: str, part: int) -> str:
    return f"{table}_{part:02}"


def _marking(table: str, kind: str, *, due: bool) -> str:
    """Marks the partitions of a table to which keys belong, whether or not there is a row."""
    count = PARTITIONS[table]
    return (
        f"INSERT INTO residues SELECT DISTINCT '{table}_' || lpad(CAST(part AS text), 2, '0'), {due}, 1 "  # noqa: S608
        f"FROM unnest(CAST(:keys AS {kind}[])) AS key, generate_series(0, {count - 1}) AS part "
        f"WHERE satisfies_hash_partition(CAST('{table}' AS regclass), {count}, part, key) {_ADD}"
    )


_MARK_NAMED: Final = f"INSERT INTO residues VALUES (:relation, true, 1) {_ADD}"  # noqa: S608
_MARK_USERS: Final = (
    "INSERT INTO residues SELECT DISTINCT CAST(pg_class.relname AS text), true, 1 "  # noqa: S608
    f"FROM users JOIN pg_class ON pg_class.oid = users.tableoid WHERE users.number = ANY(:keys) {_ADD}"
)
