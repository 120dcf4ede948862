from __future__ import annotations

import time

from rag_rec.clock import now_ms


def test_the_time_of_day_is_in_milliseconds() -> None:
    before = time.time()
    assert int(1000 * before) <= now_ms() <= 1000 * time.time()
