"""Turns rows of a file into interactions that can be stored, and says what is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from indexer.mapping import ColumnMap
from indexer.sources.batch import Batch, Reject
from indexer.times import TimeUnit, milliseconds
from rag_rec.events.known import INTERACTION, RATING
from rag_rec.validation import Limits, interaction_problems

KnownItems = Callable[[Sequence[str]], Collection[str]]
"""Says which of some item ids are in the catalogue."""


@dataclass(frozen=True)
class InteractionRows:
    """The rules by which rows become interactions.

    A row that names no event gets ``event``; where that is None, it is a rating if it has a value, else an interaction.
    """

    columns: ColumnMap
    limits: Limits
    known_items: KnownItems
    event: str | None = None
    time_unit: TimeUnit = TimeUnit.AUTO

    def read(self, batch: Batch) -> tuple[pl.DataFrame, list[Reject]]:
        """The rows that can be stored, and every row that cannot."""
        raw = self._raw(batch)
        frame = raw.select(
            "user_id",
            "item_id",
            pl.coalesce("event", self._unnamed()).alias("event"),
            pl.col("value").cast(pl.Float64, strict=False),
            "text",
            milliseconds(raw["time"], self.time_unit).alias("time"),
        )
        problems = self._problems(raw, frame)
        good = problems.is_null()
        pairs = zip(batch.lines, problems.to_list(), strict=True)
        rejects = [*batch.rejects, *(Reject(line, problem) for line, problem in pairs if problem)]
        return frame.filter(good), sorted(rejects, key=lambda reject: reject.line)

    def _raw(self, batch: Batch) -> pl.DataFrame:
        """The fields as texts; a field without a column is null."""
        cells = {name: batch.columns.get(self.columns.column(name)) for name in self.columns.fields}
        nothing = [None] * len(batch.lines)
        series = [pl.Series(name, _texts(column or nothing), dtype=pl.String) for name, column in cells.items()]
        frame = pl.DataFrame(series)
        blank = pl.when(pl.all().str.len_bytes() > 0).then(pl.all())
        return frame.with_columns(blank.name.keep()) if len(frame) else frame

    def _unnamed(self) -> pl.Expr:
        """The event of a row that names none."""
        if self.event is not None:
            return pl.lit(self.event)
        return pl.when(pl.col("value").is_null()).then(pl.lit(INTERACTION)).otherwise(pl.lit(RATING))

    def _problems(self, raw: pl.DataFrame, frame: pl.DataFrame) -> pl.Series:
        written = raw.select(
            pl.when(pl.col("time").is_null()).then(pl.lit("time: is empty")).alias("no_time"),
            pl.when(pl.col("time").is_not_null() & frame["time"].is_null())
            .then(pl.lit("time: is neither seconds, milliseconds nor ISO 8601"))
            .alias("bad_time"),
            pl.when(pl.col("value").is_not_null() & frame["value"].is_null())
            .then(pl.lit("value: is not a number"))
            .alias("bad_value"),
        )
        known = list(self.known_items(frame["item_id"].drop_nulls().unique().to_list()))
        absent = pl.when(~frame["item_id"].is_in(known)).then(pl.lit("item_id: is not in the catalogue"))
        columns = [*written, interaction_problems(frame, self.limits).alias("shared")]
        return pl.DataFrame(columns).select(pl.coalesce(pl.all(), absent).alias("problem")).to_series()


def _texts(cells: Sequence[Any]) -> list[str | None]:
    # Files of text are the common case, and half a million checks of type would double the time of reading them.
    if all(type(cell) is str for cell in cells):
        return list(cells)
    return [_text(cell) for cell in cells]


def _text(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool | list | dict):
        return "\0"  # no field may contain it, so that the row is rejected whichever field it is
    return str(cell.isoformat() if hasattr(cell, "isoformat") else cell)
