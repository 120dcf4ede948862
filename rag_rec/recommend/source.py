"""The seam that provides the ranker in use, and its simple implementations."""

from __future__ import annotations

from typing import Final, Protocol

from rag_rec.generators.condition import OFF, Condition, Standing, in_words
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import EvidenceCost, Generator, Prompt, Ranking
from rag_rec.recommend.gate import Gate
from rag_rec.recommend.ranker import Ranker


class RankerSource(Protocol):
    """Provides the ranker in use."""

    @property
    def current(self) -> Ranker:
        """The ranker in use."""

    @property
    def adapters(self) -> tuple[str, ...]:
        """Digests of the adapters in memory, sorted: also of one that was replaced and may still be asked."""

    @property
    def condition(self) -> Condition:
        """Whether the generator can be asked, as far as is known."""

    def refresh(self) -> None:
        """Take up what is current on disk by now."""

    def close(self) -> None:
        """Release it."""


class FixedRanking:
    """Always the same ranker, without an adapter; for tests and offline work."""

    adapters: Final[tuple[str, ...]] = ()

    def __init__(self, generator: Generator, gate: Gate | None, timeout_seconds: float = 60.0) -> None:
        self.current = Ranker(generator, gate, timeout_seconds)
        self.condition = condition_of(self.current) if generator.ranks else OFF

    def refresh(self) -> None:
        """Nothing can have changed."""

    def close(self) -> None:
        """Close the generator."""
        self.current.generator.close()


def condition_of(ranker: Ranker) -> Condition:
    """The condition of a ranker whose generator can be asked."""
    reason = ranker.why_not()
    return Condition(Standing.UP, reason, detail=in_words(reason))


class Unavailable:
    """Stands for a generator that could not be opened: every answer falls back, and says why."""

    ranks: Final = True
    most_candidates: Final = 1
    evidence_cost: EvidenceCost | None = None

    def __init__(self, reason: Reason) -> None:
        self.reason = reason

    def rank(self, prompt: Prompt, deadline: float | None = None) -> Ranking:  # noqa: ARG002 - the seam's signature
        """Always raises ``GeneratorFailure``."""
        raise GeneratorFailure(self.reason, "The generator could not be opened; see `rag-rec doctor`.")

    def close(self) -> None:
        """There is nothing to release."""
