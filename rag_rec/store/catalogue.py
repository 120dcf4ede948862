"""Items in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from rag_rec.domain import Item
from rag_rec.errors import UnknownItem
from rag_rec.store.checkpoints import Checkpoint, write_checkpoint
from rag_rec.store.database import Query, chunks
from rag_rec.store.encoding import decode_attributes, encode_attributes
from rag_rec.store.journal import record, take
from rag_rec.store.part import Part
from rag_rec.store.records import AppendResult, ChangeKind
from rag_rec.store.schema import items
from rag_rec.validation import check_item

_COLUMNS = (items.c.number, items.c.id, items.c.text, items.c.attributes, items.c.provider)
_PAGE_ROWS = 2000
_BY_ID = select(*_COLUMNS).where(items.c.id == bindparam("key"))
_PAGE = (
    select(*_COLUMNS)
    .where(items.c.number >= bindparam("first"), items.c.number < bindparam("stop"))
    .order_by(items.c.number)
)


def write_items(connection: Connection, incoming: Sequence[Item]) -> int:
    """Insert or replace items; the last of several with one id counts. Returns how many were inserted or changed."""
    wanted = {item.id: _encode(item) for item in incoming}
    stored = _stored(connection, list(wanted))
    fresh = [key for key in wanted if key not in stored]
    changed = {key: stored[key][0] for key in wanted if key in stored and stored[key][1] != wanted[key]}
    first = take(connection, "item", len(fresh))
    created = {key: first + at for at, key in enumerate(fresh)}
    if created:
        connection.execute(insert(items), [{**wanted[key], "number": number} for key, number in created.items()])
    if changed:
        connection.execute(_UPDATE, [{**wanted[key], "target": number} for key, number in changed.items()])
    touched = created | changed
    record(connection, ChangeKind.ITEM, [touched[key] for key in wanted if key in touched])
    return len(touched)


_UPDATE = (
    update(items)
    .where(items.c.number == bindparam("target"))
    .values({name: bindparam(name) for name in ("id", "text", "attributes", "provider")})
)


class Catalogue(Part):
    """Items."""

    def put_items(self, items: Sequence[Item], checkpoint: Checkpoint | None = None) -> int:
        """Insert or replace items. The outcome is added to the ``checkpoint`` that is stored."""
        for item in items:
            check_item(item, self._limits)
        with self._database.writer() as connection:
            changed = write_items(connection, items)
            if checkpoint is not None:
                write_checkpoint(connection, checkpoint.after(AppendResult(changed, len(items) - changed)))
            return changed

    def item(self, item_id: str) -> tuple[int, Item] | None:
        """An item and its number."""
        rows = self._database.rows(_BY_ID, key=item_id)
        return (rows[0][0], _decode(rows[0])) if rows else None

    def items(self, first: int = 0) -> Iterator[Item]:
        """All items from a number on."""
        while True:
            rows = self._database.rows(_PAGE, first=first, stop=first + _PAGE_ROWS)
            yield from map(_decode, rows)
            if len(rows) < _PAGE_ROWS:  # numbers have no gaps
                return
            first += _PAGE_ROWS

    def items_by_number(self, numbers: Sequence[int]) -> list[Item]:
        """The items with these numbers, in this order."""
        found: dict[int, Item] = {}
        with self._database.reader() as cursor:
            for part in chunks(numbers):
                values = {f"n{at}": int(number) for at, number in enumerate(part)}
                found |= {row[0]: _decode(row) for row in self._several(len(part)).rows(cursor, **values)}
        try:
            return [found[int(number)] for number in numbers]
        except KeyError:
            raise UnknownItem("No item has this number; rebuild the index if it comes from there.") from None

    def known_items(self, ids: Sequence[str]) -> set[str]:
        """Those of some item ids that are in the catalogue."""
        with self._database.errors(), self._database.engine.connect() as connection:
            return set(item_numbers(connection, ids))

    def _several(self, count: int) -> Query:
        wanted = items.c.number.in_([bindparam(f"n{at}") for at in range(count)])
        return self._database.query(("items", count), lambda: select(*_COLUMNS).where(wanted))


def item_numbers(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Numbers of the items that exist, by id."""
    numbers: dict[str, int] = {}
    for part in chunks(ids):
        rows = connection.execute(select(items.c.id, items.c.number).where(items.c.id.in_(part)))
        numbers.update((row.id, row.number) for row in rows)
    return numbers


def _stored(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[int, dict[str, Any]]]:
    stored = {}
    for part in chunks(ids):
        for number, *rest in connection.execute(select(*_COLUMNS).where(items.c.id.in_(part))):
            stored[rest[0]] = (number, dict(zip(("id", "text", "attributes", "provider"), rest, strict=True)))
    return stored


def _encode(item: Item) -> dict[str, Any]:
    attributes = encode_attributes(item.attributes)
    return {"id": item.id, "text": item.text, "attributes": attributes, "provider": item.provider}


def _decode(row: Sequence[Any]) -> Item:
    return Item(row[1], row[2], decode_attributes(row[3]), row[4])
