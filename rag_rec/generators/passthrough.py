"""The generator that has no opinion: the candidates keep their scores and their order."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from rag_rec.generators.protocol import Prompt, Ranking


class Passthrough:
    """Returns the candidates' own scores as log-probabilities, so that a fusion with it changes nothing."""

    ranks = False

    def rank(self, prompt: Prompt, deadline: float | None = None) -> Ranking:  # noqa: ARG002 - the seam's signature
        """Log-softmax of the candidates' scores."""
        scores = np.array([candidate.score for candidate in prompt.candidates], dtype=np.float64)
        return Ranking(np.asarray(log_softmax(scores)) if len(scores) else scores, None)
