"""The time of day, as the whole product writes it down."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since 1970 UTC. What took how long is measured with :func:`time.monotonic` instead."""
    return time.time_ns() // 1_000_000
