"""The last word on the order: the LLM's opinion, weighed by the gate, or the candidates' own order without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from rag_rec.domain import GateState, Source
from rag_rec.fairness.control import Control
from rag_rec.generators.failures import Reason
from rag_rec.generators.fallback import FallbackPolicy
from rag_rec.generators.protocol import EvidenceCost, Generator, Prompt, Ranking
from rag_rec.recommend.fusion import Floats, fuse
from rag_rec.recommend.gate import Gate

NOT_MEASURED = "not_measured"
"""In provenance: there is an LLM, but no gate says that it helps."""
BYPASSED = "bypassed"
"""In provenance: the gate says that the LLM does not help."""
WITHHELD = "adapter_withheld"
"""In provenance: the adapter saw a forgotten person, and may not rank until it has been trained again."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Final scores of the candidates float64 [n], where they come from, and why the LLM took no part, if so.

    ``held_back`` names the groups of items that are held back, with their strengths; None where none is.
    """

    scores: Floats
    source: Source
    ranking: Ranking | None = None
    fallback: str | None = None
    held_back: Mapping[str, float] | None = None

    @property
    def fused(self) -> bool:
        """Whether the LLM had a say."""
        return self.source in {Source.FUSED, Source.LLM}


class Ranker:
    """A generator with its gate and its time limit. ``gate`` None stands for an LLM that was not measured.

    ``withheld`` says that its adapter may not rank, so that it has to answer without one or not at all. ``problem``
    tells why the generator cannot be asked at present, if that is known. ``control`` holds groups of items back.
    """

    def __init__(  # noqa: PLR0913 - the LLM, and what decides over its opinion
        self,
        generator: Generator,
        gate: Gate | None,
        timeout_seconds: float,
        *,
        withheld: bool = False,
        problem: Callable[[], Reason | None] = lambda: None,
        control: Control | None = None,
    ) -> None:
        self.generator = generator
        self.gate = gate
        self.withheld = withheld
        self.control = control
        self._problem = problem
        self._ladder = FallbackPolicy(generator, timeout_seconds)

    @property
    def asks(self) -> bool:
        """Whether the LLM will be asked."""
        return self.generator.ranks and self.gate is not None and self.gate.use

    @property
    def gate_state(self) -> GateState | None:
        """What the gate says; None where there is no LLM, or it has not been measured."""
        return self.gate.state if self.gate is not None and self.generator.ranks else None

    @property
    def evidence_cost(self) -> EvidenceCost | None:
        """What evidence costs in the prompt; None leaves it to the settings."""
        return self.generator.evidence_cost if self.asks else None

    def without(self, scores: Floats, *, personal: bool = True) -> Ranked:
        """The candidates' own order, and why the LLM is not asked, if there is one."""
        if not personal:
            return Ranked(scores, Source.POPULARITY)
        return Ranked(scores, Source.CANDIDATES, None, self.why_not())

    def rank(self, prompt: Prompt, scores: Floats, deadline: float | None) -> Ranked:
        """Ask the LLM about the candidates of the prompt, the first of ``scores``; the others follow in their order."""
        if self.gate is None:
            return self.without(scores)
        attempt = self._ladder.attempt(prompt, deadline)
        if attempt.ranking is None:
            return Ranked(scores, Source.CANDIDATES, None, attempt.failure)
        asked = len(prompt.candidates)
        source = Source.FUSED if self.gate.weight else Source.LLM
        fused = fuse(scores[:asked], attempt.ranking.log_probabilities, self.gate.weight)
        return Ranked(_followed_by(fused, scores[asked:]), source, attempt.ranking)

    def why_not(self) -> str | None:
        """Why the LLM is not asked although there is one."""
        if self.asks or not self.generator.ranks:
            return None
        if self.withheld:
            return WITHHELD
        return BYPASSED if self.gate is not None else self._problem() or NOT_MEASURED


def _followed_by(first: Floats, others: Floats) -> Floats:
    """Scores in which the others, in their own order, come after all of the first."""
    if not len(others):
        return first
    return np.concatenate([first, np.asarray(log_softmax(others)) + first.min() - 1.0])
