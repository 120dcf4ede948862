"""The time of day, as the whole product writes it down."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def now_ms() -> int:
    """Milliseconds since 1970 UTC. What took how long is measured with :func:`time.monotonic` instead."""
    return time.time_ns() // 1_000_000


def iso(milliseconds: int, timespec: str = "milliseconds") -> str:
    """A time since 1970 UTC in ISO 8601, such as 2026-01-31T12:00:00.000Z; ``timespec`` as ``datetime`` has it."""
    moment = _START + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def milliseconds_of(text: str) -> int:
    """The time that :func:`iso` wrote down."""
    return (datetime.fromisoformat(text) - _START) // timedelta(milliseconds=1)
