"""The list of services that answer from memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, delete, insert, select

from rag_rec.store.part import Part
from rag_rec.store.records import Replica
from rag_rec.store.schema import replicas

_ALL = select(*replicas.c).order_by(replicas.c.id)


def read_replica(row: Sequence[Any]) -> Replica:
    """A replica from a row of its table."""
    columns = dict(zip(replicas.c.keys(), row, strict=True))
    return Replica(**columns | {"adapters": tuple(orjson.loads(columns["adapters"]))})


class Replicas(Part):
    """The list of replicas. Only :meth:`renew` and :meth:`drop_silent` are durable: what the others say is soon old."""

    def beat(self, replica: Replica) -> None:
        """Insert or replace what a live replica says of itself."""
        with self._database.writer(durable=False) as connection:
            _delete(connection, replicas.c.id == replica.id)
            _insert(connection, replica)

    def renew(self, replica: Replica) -> bool:
        """Replace what a live replica says of itself; False if it is not on the list any more."""
        with self._database.writer() as connection:
            there = _delete(connection, replicas.c.id == replica.id)
            if there:
                _insert(connection, replica)
            return there

    def leave(self, replica_id: str) -> None:
        """Take a replica off the list."""
        with self._database.writer(durable=False) as connection:
            _delete(connection, replicas.c.id == replica_id)

    def drop_silent(self, replica: Replica) -> None:
        """Take a replica off the list, unless it was heard of since it was read."""
        with self._database.writer() as connection:
            _delete(connection, (replicas.c.id == replica.id) & (replicas.c.seen == replica.seen))

    def replicas(self) -> list[Replica]:
        """All replicas on the list, by id."""
        return [read_replica(row) for row in self._database.rows(_ALL)]


def _insert(connection: Connection, replica: Replica) -> None:
    connection.execute(insert(replicas), asdict(replica) | {"adapters": orjson.dumps(replica.adapters).decode()})


def _delete(connection: Connection, which: ColumnElement[bool]) -> bool:
    return connection.execute(delete(replicas).where(which)).rowcount > 0
