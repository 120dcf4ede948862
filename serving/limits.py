"""How much the service accepts at once. Beyond it the answer is a clear error at once, not a long wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and counts that bound the work in the service.

    Attributes:
        body_bytes: largest request body.
        head_bytes: largest request line with headers.
        events: most events in one call.
        answer_threads: threads that compute recommendations and similar items.
        change_threads: threads that store events, users and items, and that forget.
        inspection_threads: threads that export, and that report status and metrics.
        waiting: calls that may wait in front of each of these groups of threads.
        refresh_seconds: how often the service looks for a newly published index generation.
        drain_seconds: how long a stopping service waits for requests under way.
    """

    body_bytes: int = 4 * 2**20
    head_bytes: int = 64 * 2**10
    events: int = 1000
    answer_threads: int = 2
    change_threads: int = 2
    inspection_threads: int = 1
    waiting: int = 64
    refresh_seconds: float = 1.0
    drain_seconds: int = 30
