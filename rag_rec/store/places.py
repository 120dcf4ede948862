"""The data folders that hold files made from the store's people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select

from rag_rec.errors import UnknownPlace
from rag_rec.store.chain import append_entries, tip
from rag_rec.store.lineage import delete_lineage
from rag_rec.store.part import Part
from rag_rec.store.records import LedgerEntry, LedgerTip, Place
from rag_rec.store.schema import debts, measured_removals, places

_ALL = select(*places.c).order_by(places.c.id)


def write_place(connection: Connection, place: Place) -> None:
    """Insert or replace a place."""
    connection.execute(delete(places).where(places.c.id == place.id))
    connection.execute(insert(places), asdict(place) | {"adapters": orjson.dumps(place.adapters).decode()})


def peek_places(connection: Connection) -> list[Place]:
    """All places, by id, in the caller's transaction."""
    return [read_place(row) for row in connection.execute(_ALL)]


def read_place(row: Sequence[Any]) -> Place:
    """A place from a row of its table."""
    columns = dict(zip(places.c.keys(), row, strict=True))
    return Place(**columns | {"adapters": tuple(orjson.loads(columns["adapters"]))})


class Places(Part):
    """The list of places. It is durable: others rely on what a place says of its files."""

    def put_place(self, place: Place) -> None:
        """Insert or replace a place."""
        with self._database.writer() as connection:
            write_place(connection, place)

    def places(self) -> list[Place]:
        """All places, retired ones too, by id."""
        return [read_place(row) for row in self._database.rows(_ALL)]

    def retire_place(
        self, place_id: str, time: int, reason: str, ledger: Callable[[LedgerTip, Place], LedgerEntry]
    ) -> Place:
        """Take a place out of use, with an entry of the ledger. What its own adapters owed goes with it.

        Raises:
            UnknownPlace: there is no place of this id that is in use.
        """
        with self._database.writer() as connection:
            retired = _retire(connection, place_id, time, reason)
            end = tip(connection)
            append_entries(connection, end, [ledger(end, retired)])
            return retired


def _retire(connection: Connection, place_id: str, time: int, reason: str) -> Place:
    known = {place.id: place for place in peek_places(connection) if place.retired is None}
    if place_id not in known:
        raise UnknownPlace("There is no place with this id that is in use: see `rag-rec place list`.")
    retired = replace(known.pop(place_id), retired=time, reason=reason)
    write_place(connection, retired)
    elsewhere = {adapter for place in known.values() for adapter in place.adapters}
    asked = select(debts.c.adapter).union(select(measured_removals.c.adapter))
    waited_for = {row.adapter for row in connection.execute(asked)}
    delete_lineage(connection, sorted((waited_for - elsewhere).intersection(retired.adapters)))
    return retired
