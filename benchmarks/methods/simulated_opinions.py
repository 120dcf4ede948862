"""Simulated questions for the gate: candidates and an LLM that each know the answer to a degree, partly in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import log_softmax

from rag_rec.recommend.fusion import Trials

WIDTH: Final = 50
MISSED: Final = 0.47
"""Share of the answers that are not among the candidates, as on ML-1M."""
CANDIDATES_KNOW: Final = 1.6
"""How far the candidates' score of the answer stands out, in standard deviations of the others."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """An LLM: how far its score of the answer stands out, and the share of its variance that the candidates share."""

    knows: float
    shared: float


def simulated(opinion: Opinion, people: int, seed: int) -> Trials:
    """What candidates, best first, and LLM say to people's questions."""
    draws = np.random.default_rng(seed)
    answers = draws.integers(0, WIDTH, size=people)
    truth = np.zeros((people, WIDTH))
    truth[np.arange(people), answers] = 1.0
    common, first, second = draws.normal(size=(3, people, WIDTH))
    candidates = CANDIDATES_KNOW * truth + np.sqrt(opinion.shared) * common + np.sqrt(1 - opinion.shared) * first
    llm = opinion.knows * truth + np.sqrt(opinion.shared) * common + np.sqrt(1 - opinion.shared) * second
    order = np.argsort(-candidates, axis=1)
    places = (order == answers[:, None]).argmax(axis=1)
    return Trials(
        _normal(np.take_along_axis(candidates, order, axis=1)),
        _normal(np.take_along_axis(llm, order, axis=1)),
        np.where(draws.random(people) < MISSED, -1, places),
    )


def _normal(
    scores: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.asarray(log_softmax(scores, axis=1))
