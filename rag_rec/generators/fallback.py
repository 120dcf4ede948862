"""The fallback policy: the LLM first; without it the candidates' own order. The answer always comes, and in time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import structlog

from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import Generator, Prompt, Ranking

RESERVE_SHARE = 0.1
RESERVE_SECONDS = 0.005
"""Of the time that is left when the generator is asked, so much is kept for what comes after it."""

REPORT_SECONDS = 60.0
"""An unexpected error of one kind is logged once in so many seconds."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of asking the generator: a ranking, or the reason why there is none."""

    ranking: Ranking | None
    failure: Reason | None = None


class FallbackPolicy:
    """Asks a generator within a time limit, and turns every failure into a reason."""

    def __init__(self, generator: Generator, timeout_seconds: float) -> None:
        self.generator = generator
        self._timeout = timeout_seconds
        self._reported: dict[str, float] = {}

    def attempt(self, prompt: Prompt, deadline: float | None) -> Attempt:
        """Rank, or say why not. Never raises; ends before ``deadline`` (seconds of ``time.monotonic``)."""
        now = time.monotonic()
        limit = now + self._timeout
        if deadline is not None:
            left = deadline - now
            limit = min(limit, deadline - max(RESERVE_SECONDS, RESERVE_SHARE * left))
        if limit <= now:
            return Attempt(None, Reason.LATE)
        try:
            return Attempt(self.generator.rank(prompt, limit))
        except GeneratorFailure as failure:
            return Attempt(None, failure.reason)
        except Exception as error:  # the answer goes out without the LLM; the log says what went wrong
            self._report(type(error).__name__)
            return Attempt(None, Reason.INTERNAL)

    def _report(self, kind: str) -> None:
        """Log an unexpected error, and the same one again only after a while: it may come with every request."""
        now = time.monotonic()
        if now - self._reported.get(kind, -math.inf) >= REPORT_SECONDS:
            self._reported[kind] = now
            log.error("generator_error", kind=kind)
