"""Reads times that files write as seconds, milliseconds or ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

import polars as pl

from rag_rec.validation import MAX_TIME

# As seconds it lies in the year 5138, as milliseconds in 1973: no event of a recommender is on the wrong side.
_SECONDS_BELOW = 100_000_000_000


class TimeUnit(StrEnum):
    """How a time is written. ``AUTO``: a number below 1e11 is seconds, another one milliseconds, a text ISO 8601."""

    AUTO = "auto"
    SECONDS = "s"
    MILLISECONDS = "ms"
    ISO = "iso"


def milliseconds(written: pl.Series, unit: TimeUnit = TimeUnit.AUTO) -> pl.Series:
    """Times as milliseconds since 1970 UTC, Int64; null where a text cannot be read as a time."""
    frame = pl.DataFrame({"text": written.str.strip_chars()})
    if unit is TimeUnit.ISO:
        return _from_iso(frame["text"])
    whole = pl.col("text").cast(pl.Int64, strict=False)
    decimal = pl.col("text").cast(pl.Float64, strict=False)
    frame = frame.with_columns(whole.alias("whole"), decimal.alias("decimal"))
    numbers = frame.select(_scaled(unit).alias("time")).to_series()
    rest = frame["text"].is_not_null() & frame["decimal"].is_null()
    if unit is not TimeUnit.AUTO or not rest.any():
        return numbers
    iso = _from_iso(frame["text"].set(~rest, None))
    return pl.DataFrame({"number": numbers, "iso": iso}).select(pl.coalesce("number", "iso")).to_series()


def _scaled(unit: TimeUnit) -> pl.Expr:
    number = pl.col("decimal")
    # Whole milliseconds stay integers; whatever is beyond the year 9999 only has to stay beyond it.
    exact = pl.coalesce(pl.col("whole"), number.clip(-1, MAX_TIME + 1).round().cast(pl.Int64, strict=False))
    in_seconds = (number * 1000).clip(-1, MAX_TIME + 1).round().cast(pl.Int64, strict=False)
    if unit is TimeUnit.MILLISECONDS:
        return exact
    if unit is TimeUnit.SECONDS:
        return in_seconds
    return pl.when(number < _SECONDS_BELOW).then(in_seconds).otherwise(exact)


def _from_iso(texts: pl.Series) -> pl.Series:
    return pl.Series([None if text is None else _parse_iso(text) for text in texts], dtype=pl.Int64)


def _parse_iso(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # without a zone, a time is UTC
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
