"""Interactions without a value that version 0.1.0 stored as ratings.

A file that was ingested then and is ingested again must neither double them, nor bring back what was forgotten.
"""

from __future__ import annotations

import polars as pl
from sqlalchemy import Connection, select

from rag_rec.domain import Interaction
from rag_rec.events.known import INTERACTION, RATING
from rag_rec.store.database import chunks
from rag_rec.store.schema import events, interactions

_stored = interactions.c
_KEY = ["user_number", "item_number", "time"]


def earlier_form(row: Interaction) -> Interaction | None:
    """The interaction as version 0.1.0 would have stored it; None where that is no other one."""
    if row.event != INTERACTION or row.value is not None:
        return None
    return Interaction(row.user_id, row.item_id, row.time, RATING, None, row.text)


def without_stored_ratings(connection: Connection, numbered: pl.DataFrame) -> pl.DataFrame:
    """The rows without those that are stored as ratings without a value. ``numbered`` has the numbers of the store."""
    unvalued = (pl.col("event") == INTERACTION) & pl.col("value").is_null()
    users = numbered.filter(unvalued)["user_number"].unique().to_list()
    code = connection.scalar(select(events.c.code).where(events.c.name == RATING)) if users else None
    if code is None:
        return numbered
    ratings = (_stored.event_code == code) & _stored.value.is_(None)
    query = select(*(_stored[name] for name in _KEY)).where(ratings)
    rows = [row for part in chunks(users) for row in connection.execute(query.where(_stored.user_number.in_(part)))]
    if not rows:
        return numbered
    known = pl.DataFrame([tuple(row) for row in rows], schema=dict.fromkeys(_KEY, pl.Int64), orient="row")
    again = numbered.with_row_index("at").filter(unvalued).join(known, on=_KEY, how="semi")["at"]
    return numbered.with_row_index("at").filter(~pl.col("at").is_in(again.implode())).drop("at")
