"""The generator that has no opinion: the candidates keep their scores and their order."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import log_softmax

from rag_rec.generators.protocol import EvidenceCost, Prompt, Ranking


class Passthrough:
    """Returns the candidates' own scores as log-probabilities, so that a fusion with it changes nothing."""

    ranks: Final = False
    most_candidates: Final = 1_000_000
    evidence_cost: EvidenceCost | None = None

    def rank(self, prompt: Prompt, deadline: float | None = None) -> Ranking:  # noqa: ARG002 - the seam's signature
        """Log-softmax of the candidates' scores."""
        scores = np.array([candidate.score for candidate in prompt.candidates], dtype=np.float64)
        return Ranking(np.asarray(log_softmax(scores)) if len(scores) else scores, None)

    def close(self) -> None:
        """There is nothing to release."""
