"""Times as files write them."""

from __future__ import annotations

import polars as pl
import pytest

from indexer.times import TimeUnit, milliseconds
from rag_rec.validation import MAX_TIME


def one(text: str | None, unit: TimeUnit = TimeUnit.AUTO) -> int | None:
    written = pl.Series("time", [text], dtype=pl.String)
    found: int | None = milliseconds(written, unit)[0]
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("881250949", 881_250_949_000),
        ("881250949.1236", 881_250_949_124),
        (" 99999999999 ", 99_999_999_999_000),
        ("100000000000", 100_000_000_000),
        ("1700000000123", 1_700_000_000_123),
        ("1e9", 1_000_000_000_000),
        ("1970-01-02", 86_400_000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01 01:00:00.5+01:00", 500),
        ("1970-01-01T00:00:01Z", 1000),
        ("1969-12-31T23:59:59Z", -1000),
        ("tomorrow", None),
        ("", None),
        ("nan", None),
        (None, None),
    ],
)
def test_auto_tells_the_unit_from_the_text(text: str | None, expected: int | None) -> None:
    assert one(text) == expected


def test_a_unit_can_be_stated() -> None:
    assert one("5", TimeUnit.MILLISECONDS) == 5
    assert one("200000000000", TimeUnit.SECONDS) == 200_000_000_000_000
    assert one("19700102", TimeUnit.ISO) == 86_400_000
    assert one("1970-01-02", TimeUnit.MILLISECONDS) is None


@pytest.mark.parametrize("text", ["9" * 18, "9" * 30, "1e300"])
@pytest.mark.parametrize("unit", [TimeUnit.AUTO, TimeUnit.SECONDS, TimeUnit.MILLISECONDS])
def test_a_number_beyond_all_times_stays_beyond_them(text: str, unit: TimeUnit) -> None:
    found = one(text, unit)
    assert found is not None and found > MAX_TIME
