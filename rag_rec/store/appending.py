"""Appends interactions: ids become numbers by joins over the whole batch, duplicates fall out at the table's key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from sqlalchemy import Connection, insert, select

from rag_rec.domain import Interaction
from rag_rec.errors import InvalidInput, UnknownItem
from rag_rec.store.catalogue import item_numbers
from rag_rec.store.database import chunks
from rag_rec.store.earlier import without_stored_ratings
from rag_rec.store.journal import peek, record, take
from rag_rec.store.people import create_users, user_numbers
from rag_rec.store.records import AppendResult, ChangeKind
from rag_rec.store.schema import events, interactions
from rag_rec.validation import DEFAULT_LIMITS, Limits, interaction_problems

SCHEMA = {
    "user_id": pl.String,
    "item_id": pl.String,
    "event": pl.String,
    "value": pl.Float64,
    "text": pl.String,
    "time": pl.Int64,
}
MAX_EVENT_TYPES = 1000
_KEY = ["user_number", "item_number", "event_code", "time"]
_COLUMNS = [*_KEY, "number", "value", "text"]
_SKIP = f"ON CONFLICT ({', '.join(_KEY)}) DO NOTHING"


def interaction_frame(incoming: Sequence[Interaction]) -> pl.DataFrame:
    """Interactions as a frame; they have been checked already."""
    columns = {name: [getattr(row, name) for row in incoming] for name in SCHEMA if name != "value"}
    columns["value"] = [None if row.value is None else float(row.value) for row in incoming]
    return pl.DataFrame(columns, schema=SCHEMA)


def checked_frame(frame: pl.DataFrame, limits: Limits = DEFAULT_LIMITS) -> pl.DataFrame:
    """The frame in the expected types. Raises ``InvalidInput`` if a column is missing or a row cannot be stored."""
    missing = [name for name in SCHEMA if name not in frame.columns]
    if missing:
        raise InvalidInput(f"The interactions lack the columns {', '.join(missing)}.")
    try:
        typed = frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    except pl.exceptions.PolarsError:
        raise InvalidInput("A column of the interactions has values of another type than expected.") from None
    problems = interaction_problems(typed, limits)
    broken = problems.is_not_null().arg_true()
    if len(broken):
        raise InvalidInput(
            f"{len(broken)} of {len(frame)} interactions cannot be stored; "
            f"the first is row {broken[0] + 1}: {problems[broken[0]]}."
        )
    return typed


def append_rows(connection: Connection, frame: pl.DataFrame) -> AppendResult:
    """Append a checked frame in row order, with one change for each user who got a new interaction."""
    if frame.is_empty():
        return AppendResult(0, 0)
    item_map = _known_items(connection, frame["item_id"])
    numbered = frame.with_columns(
        _numbers(frame["user_id"], _user_numbers(connection, frame["user_id"])).alias("user_number"),
        _numbers(frame["item_id"], item_map).alias("item_number"),
        _numbers(frame["event"], _event_codes(connection, frame["event"])).alias("event_code"),
    )
    rows = _rows(without_stored_ratings(connection, numbered), peek(connection, "interaction"))
    if rows.is_empty():
        return AppendResult(0, len(frame))
    accepted = _insert(connection, rows)
    if accepted:
        first = take(connection, "interaction", len(rows))
        record(connection, ChangeKind.USER, _touched(connection, rows, first, accepted))
    return AppendResult(accepted, len(frame) - accepted)


def _rows(numbered: pl.DataFrame, first: int) -> pl.DataFrame:
    unique = numbered.unique(subset=_KEY, keep="first", maintain_order=True)
    # Inserting in the order of the key keeps neighbouring rows on neighbouring pages.
    return unique.with_row_index("number", first).select(_COLUMNS).sort(_KEY)


def _numbers(ids: pl.Series, numbers: dict[str, int]) -> pl.Series:
    if len(numbers) == 1:
        return pl.repeat(next(iter(numbers.values())), len(ids), dtype=pl.Int64, eager=True)
    return ids.replace_strict(list(numbers.keys()), list(numbers.values()), return_dtype=pl.Int64)


def _known_items(connection: Connection, ids: pl.Series) -> dict[str, int]:
    wanted = ids.unique().to_list()
    numbers = item_numbers(connection, wanted)
    unknown = sorted(set(wanted) - numbers.keys())
    if unknown:
        listed = ", ".join(repr(key) for key in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise UnknownItem(f"Not in the catalogue: {len(unknown)} items ({listed}). Add the items first.")
    return numbers


def _user_numbers(connection: Connection, ids: pl.Series) -> dict[str, int]:
    wanted = ids.unique(maintain_order=True).to_list()
    numbers = user_numbers(connection, wanted)
    return numbers | create_users(connection, [key for key in wanted if key not in numbers])


def _event_codes(connection: Connection, names: pl.Series) -> dict[str, int]:
    codes = {row.name: row.code for row in connection.execute(select(events.c.name, events.c.code))}
    wanted = names.unique(maintain_order=True).to_list()
    fresh = [name for name in wanted if name not in codes]
    if fresh:
        if len(codes) + len(fresh) > MAX_EVENT_TYPES:
            raise InvalidInput(f"The store holds at most {MAX_EVENT_TYPES} types of event; is 'event' a free text?")
        first = take(connection, "event", len(fresh))
        connection.execute(insert(events), [{"code": first + at, "name": name} for at, name in enumerate(fresh)])
        codes |= {name: first + at for at, name in enumerate(fresh)}
    return {name: codes[name] for name in wanted}


def _insert(connection: Connection, rows: pl.DataFrame) -> int:
    """Insert the rows that are not there yet. Returns how many.

    The driver itself does it: half a million rows through the expression layer would cost seconds.
    """
    cursor: Any = connection.connection.cursor()
    try:
        insert_into = _insert_into_sqlite if connection.dialect.name == "sqlite" else _copy_into_postgresql
        return insert_into(cursor, rows)
    finally:
        cursor.close()


def _insert_into_sqlite(cursor: Any, rows: pl.DataFrame) -> int:
    columns, values = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
    cursor.executemany(f"INSERT INTO interactions ({columns}) VALUES ({values}) {_SKIP}", rows.rows())  # noqa: S608
    return int(cursor.rowcount)


def _copy_into_postgresql(cursor: Any, rows: pl.DataFrame) -> int:
    columns = ", ".join(_COLUMNS)
    cursor.execute("CREATE TEMPORARY TABLE incoming (LIKE interactions) ON COMMIT DROP")
    with cursor.copy(f"COPY incoming ({columns}) FROM STDIN") as copy:
        for row in rows.iter_rows():
            copy.write_row(row)
    cursor.execute(f"INSERT INTO interactions ({columns}) SELECT {columns} FROM incoming {_SKIP}")  # noqa: S608
    return int(cursor.rowcount)


def _touched(connection: Connection, rows: pl.DataFrame, first: int, accepted: int) -> list[int]:
    """Users who got a new interaction, ascending."""
    users: list[int] = rows["user_number"].unique().sort().to_list()
    if accepted == len(rows):
        return users
    new = select(interactions.c.user_number).distinct().where(interactions.c.number >= first)
    if len(users) > 500:
        return sorted(connection.execute(new).scalars())
    found = [connection.execute(new.where(interactions.c.user_number.in_(part))).scalars() for part in chunks(users)]
    return sorted(number for part in found for number in part)
