"""How much the service accepts at once. Beyond it the answer is a clear error at once, not a long wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rag_rec.settings import Settings

WAITING_THREADS: Final = 32
"""Answers under way at once where each waits for an LLM server."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and counts that bound the work in the service.

    Attributes:
        body_bytes: largest request body.
        head_bytes: largest request line with headers.
        events: most events in one call.
        answer_threads: threads that compute recommendations and similar items.
        change_threads: threads that store events, users and items.
        removal_threads: threads that plan and carry out removals.
        proof_threads: threads that compare the system with one that never knew the person.
        explanation_threads: threads that write explanations; each waits for an LLM server most of the time.
        inspection_threads: threads that export, and that report status and metrics.
        waiting: calls that may wait in front of each of these groups of threads.
        refresh_seconds: how often the service looks for a newly published index generation.
        attend_seconds: how often it looks whether somebody was forgotten elsewhere.
        stay_seconds: how often it says that it still runs.
        drain_seconds: how long a stopping service waits for requests under way.
        barrier_seconds: how long a removal waits for the answers begun before it; then they are cut off.
    """

    body_bytes: int = 4 * 2**20
    head_bytes: int = 64 * 2**10
    events: int = 1000
    answer_threads: int = 2
    change_threads: int = 2
    removal_threads: int = 2
    proof_threads: int = 1
    explanation_threads: int = 8
    inspection_threads: int = 1
    waiting: int = 64
    refresh_seconds: float = 1.0
    attend_seconds: float = 0.05
    stay_seconds: float = 1.0
    drain_seconds: int = 30
    barrier_seconds: float = 5.0


def limits_for(settings: Settings) -> Limits:
    """The limits that fit the generator: a thread that waits for a server does no work, so there may be many."""
    if settings.generator == "vllm":
        return Limits(answer_threads=WAITING_THREADS, waiting=8 * WAITING_THREADS)
    return Limits()
