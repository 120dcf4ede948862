from __future__ import annotations

import time

from rag_rec.clock import iso, milliseconds_of, now_ms


def test_the_time_of_day_is_in_milliseconds() -> None:
    before = time.time()
    assert int(1000 * before) <= now_ms() <= 1000 * time.time()


def test_a_time_is_written_down_in_utc_and_read_again() -> None:
    assert iso(1_706_702_400_123) == "2024-01-31T12:00:00.123Z"
    assert iso(1_706_702_400_123, "seconds") == "2024-01-31T12:00:00Z"
    for milliseconds in (-1, 0, 1, 1_706_702_400_123, 253_402_300_799_999):
        assert milliseconds_of(iso(milliseconds)) == milliseconds
