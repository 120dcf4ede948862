"""The list of services that answer from memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select

from rag_rec.store.database import Database
from rag_rec.store.records import Replica
from rag_rec.store.schema import replicas


def write_replica(connection: Connection, replica: Replica) -> None:
    """Insert or replace what a replica says of itself."""
    delete_replica(connection, replica.id)
    connection.execute(insert(replicas), asdict(replica) | {"adapters": orjson.dumps(replica.adapters).decode()})


def renew_replica(connection: Connection, replica: Replica) -> bool:
    """Replace what a replica says of itself, if it is on the list. Returns whether it is."""
    there = connection.execute(delete(replicas).where(replicas.c.id == replica.id)).rowcount > 0
    if there:
        write_replica(connection, replica)
    return there


def read_replica(row: Sequence[Any]) -> Replica:
    """A replica from a row of its table."""
    columns = dict(zip(replicas.c.keys(), row, strict=True))
    return Replica(**columns | {"adapters": tuple(orjson.loads(columns["adapters"]))})


def delete_replica(connection: Connection, replica_id: str) -> None:
    """Take a replica off the list."""
    connection.execute(delete(replicas).where(replicas.c.id == replica_id))


def delete_silent(connection: Connection, replica: Replica) -> None:
    """Take a replica off the list, unless it was heard of since."""
    same = (replicas.c.id == replica.id) & (replicas.c.seen == replica.seen)
    connection.execute(delete(replicas).where(same))


class Replicas:
    """Reads the list."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._all = database.query("replicas", lambda: select(*replicas.c).order_by(replicas.c.id))

    def all(self) -> list[Replica]:
        """All replicas on the list, by id."""
        with self._database.reader() as cursor:
            return [read_replica(row) for row in self._all.rows(cursor)]
