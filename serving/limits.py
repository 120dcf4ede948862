"""How much the service accepts at once. Beyond it the answer is a clear error at once, not a long wait."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from rag_rec.settings import Settings

KIB: Final = 2**10
MIB: Final = 2**20
EVENTS: Final = 1000

WAITING_THREADS: Final = 32
"""Answers under way at once where each waits for an LLM server."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes, counts and times that bound the work in the service.

    Attributes:
        body_bytes: largest request body of any route; most routes take less (:func:`serving.bodies.takes`).
        bodies_bytes: bodies held in memory at once, of all requests.
        body_seconds: how long a body may take to arrive.
        head_bytes: largest request line with headers.
        head_seconds: how long a request line with headers may take to arrive, and a new connection may be silent.
        idle_seconds: how long a connection may be silent after an answer.
        unread_seconds: how long a caller may leave an answer unread.
        connections: connections open at once.
        connections_of_address: connections open at once from one address.
        backlog: connections that the operating system holds before the service takes them.
        events: most events in one call.
        answer_threads: threads that compute recommendations and similar items.
        change_threads: threads that store events, users and items.
        removal_threads: threads that plan and carry out removals.
        proof_threads: threads that compare the system with one that never knew the person.
        explanation_threads: threads that write explanations; each waits for an LLM server most of the time.
        inspection_threads: threads that export, and that report status and metrics.
        waiting: calls that may wait in front of each of these groups of threads.
        answer_wait_seconds: expected wait for a thread beyond which recommendations and explanations are refused.
        change_wait_seconds: the same for changes.
        refresh_seconds: how often the service looks for a newly published index generation.
        attend_seconds: how often it looks whether a person was forgotten elsewhere.
        stay_seconds: how often it says that it still runs.
        drain_seconds: how long a stopping service waits for requests under way.
        handover_seconds: how long a stopping service asks callers to connect anew, which another one answers, before
            it closes connections on which nothing is under way.
        barrier_seconds: how long a removal waits for the answers begun before it; then they are cut off.
    """

    body_bytes: int = 4 * MIB
    bodies_bytes: int = 64 * MIB
    body_seconds: float = 20.0
    head_bytes: int = 64 * KIB
    head_seconds: float = 10.0
    idle_seconds: int = 30
    unread_seconds: float = 30.0
    connections: int = 1000
    connections_of_address: int = 1000
    backlog: int = 1024
    events: int = EVENTS
    answer_threads: int = 2
    change_threads: int = 2
    removal_threads: int = 2
    proof_threads: int = 1
    explanation_threads: int = 8
    inspection_threads: int = 1
    waiting: int = 64
    answer_wait_seconds: float = 1.0
    change_wait_seconds: float = 5.0
    refresh_seconds: float = 1.0
    attend_seconds: float = 0.05
    stay_seconds: float = 1.0
    drain_seconds: int = 30
    handover_seconds: float = 0.0
    barrier_seconds: float = 5.0


def limits_for(settings: Settings) -> Limits:
    """The limits that fit the settings.

    A thread that waits for an LLM server does no work, so there may be many.
    """
    limits = replace(
        Limits(),
        connections=settings.max_connections,
        connections_of_address=settings.max_connections_per_address or settings.max_connections,
    )
    if settings.generator == "vllm":
        return replace(limits, answer_threads=WAITING_THREADS, waiting=8 * WAITING_THREADS)
    return limits
