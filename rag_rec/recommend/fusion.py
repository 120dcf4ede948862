"""The fusion of candidate scores with the LLM's opinion, and what decides whether the LLM is used at all.

Scores are fused log-linearly, ``weight x log p(candidate model) + log p(LLM)``: a product of experts (Hinton, "Training
products of experts by minimizing contrastive divergence", 2002) with one number learned on validation. An LLM takes
part only where its gain over its own input order is above zero beyond the noise of the people who were asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeResult, brentq, minimize
from scipy.special import log_softmax

from rag_rec.evaluation import bootstrap
from rag_rec.evaluation.ranking import gains as ranked_gains
from rag_rec.recommend.gate import MOST_WEIGHT, Gate, helps

Floats = npt.NDArray[np.float64]
FOLDS: Final = 5
"""Parts of the people for cross-fitting: each is judged by a weight chosen on the four others."""
LEAST_MOVED: Final = 20
"""People whose answers the fusion moves. A bootstrap of fewer is too sure: of four, all rise by chance once in 16."""
CAUTION: Final = 1.0
"""By so many standard errors the LLM's scale is lowered, after the one-standard-error rule of Breiman et al.
("Classification and Regression Trees", 1984): on thin evidence the fusion stays near the candidates' order."""


def fuse(candidates: Floats, llm: Floats, weight: float) -> Floats:
    """Log-probabilities of the fused order.

    Args:
        candidates: scores by the candidate model, float64 [n] (last axis), up to a constant.
        llm: log-probabilities by the LLM, the same shape.
        weight: of the candidates.
    """
    return np.asarray(log_softmax(weight * np.asarray(log_softmax(candidates, axis=-1)) + llm, axis=-1))


@dataclass(frozen=True, slots=True)
class Trials:
    """Questions whose answer is known: scores and log-probabilities float64 [users, n], -inf where there is no
    candidate, and the position of the answer among the candidates, int64 [users], -1 where it is not among them."""

    candidates: Floats
    llm: Floats
    answers: npt.NDArray[np.int64]

    def part(self, users: npt.NDArray[np.int64]) -> Trials:
        """Some of the questions."""
        return Trials(self.candidates[users], self.llm[users], self.answers[users])

    def fused(self, weight: float) -> Floats:
        """Fused scores float64 [users, n], up to a constant for each user; -inf where there is no candidate."""
        with np.errstate(invalid="ignore"):  # -inf times 0 where there is no candidate
            return np.nan_to_num(weight * self.candidates + self.llm, nan=-np.inf, neginf=-np.inf)


def fit_gate(trials: Trials, seed: int, model: str | None = None, adapter: str | None = None) -> Gate:
    """Choose the weight, and decide whether the LLM is used.

    The decision is cross-fitted: users are judged by a weight chosen on others, so that no user's choice speaks for its
    own weight.
    """
    fused = _cross_fitted(trials, seed)
    candidates = gain_of(trials.candidates, trials.answers)
    gain = _interval(fused - candidates, seed)
    return Gate(
        use=helps(gain),
        weight=cautious_weight(trials),
        model=model,
        adapter=adapter,
        users=len(trials.answers),
        candidates=round(float(candidates.mean()), 6),
        llm=round(float(gain_of(trials.llm, trials.answers).mean()), 6),
        fused=round(float(fused.mean()), 6),
        gain=gain,
    )


def cautious_weight(trials: Trials, caution: float = CAUTION) -> float:
    """The weight under which the answers are likeliest, moved towards the candidates' order by what is not known.

    The log-likelihood of the answers under ``softmax(a x candidates + b x LLM)`` is concave in a and b, both at least
    0; the weight is a / b. It uses every answer among the candidates, where NDCG@10 jumps and looks at ten places. The
    LLM's scale b is lowered by ``caution`` standard errors, and a is chosen again for it. Without answers, and where b
    might as well be 0, the candidates' order is kept.
    """
    known = trials.part(np.flatnonzero(trials.answers >= 0))
    if not len(known.answers):
        return MOST_WEIGHT
    experts = np.stack([known.candidates, known.llm])
    lowered = _lowered(experts, known.answers, caution)
    if lowered < 1e-9:
        return MOST_WEIGHT
    candidates = _likeliest(experts, known.answers, lowered).x[0]
    return round(float(min(MOST_WEIGHT, candidates / lowered)), 3)


def _lowered(experts: Floats, answers: npt.NDArray[np.int64], caution: float) -> float:
    """The lower end of the LLM's scale: where the likelihood, with the candidates' scale chosen again, has fallen by
    caution^2 / 2 from its top (a profile likelihood interval). Unlike the curvature at the top, it also holds where an
    LLM is always right."""
    best = _likeliest(experts, answers, None)
    bound = best.fun + caution**2 / (2 * len(answers))

    def above(llm: float) -> float:
        return float(_likeliest(experts, answers, llm).fun - bound)

    if caution == 0 or best.x[1] == 0:
        return float(best.x[1])
    return 0.0 if above(0.0) <= 0 else float(brentq(above, 0.0, float(best.x[1]), xtol=1e-4, rtol=1e-3))


def _likeliest(experts: Floats, answers: npt.NDArray[np.int64], llm: float | None) -> OptimizeResult:
    """Scales ``x`` [2] under which the answers are likeliest; that of the LLM is fixed where it is given."""
    bounds = [(0.0, None), (0.0, None) if llm is None else (llm, llm)]
    start = np.array([1.0, 1.0 if llm is None else llm])
    return minimize(_unlikelihood, start, (experts, answers), "L-BFGS-B", jac=True, bounds=bounds)


def _unlikelihood(scales: Floats, experts: Floats, answers: npt.NDArray[np.int64]) -> tuple[float, Floats]:
    """Mean negative log-likelihood of the answers, and its gradient by the scale of each expert [2, users, n]."""
    there = np.isfinite(experts[0])
    values = np.where(there, experts, 0.0)
    logits = np.where(there, np.tensordot(scales, values, axes=1), -np.inf)
    log_probabilities = log_softmax(logits, axis=1)
    rows = np.arange(len(answers))
    expected = (np.exp(log_probabilities) * values).sum(axis=2)
    gradient = (expected - values[:, rows, answers]).mean(axis=1)
    return float(-log_probabilities[rows, answers].mean()), gradient


def gain_of(scores: Floats, answers: npt.NDArray[np.int64]) -> Floats:
    """NDCG@10 of each question, float64 [users]; of tied candidates the one given first comes first."""
    known = answers >= 0
    reached = np.take_along_axis(scores, np.maximum(answers, 0)[:, None], axis=1)
    before = np.arange(scores.shape[1]) < answers[:, None]
    rank = ((scores > reached) | ((scores == reached) & before)).sum(axis=1)
    return np.where(known, ranked_gains(rank), 0.0)


def _cross_fitted(trials: Trials, seed: int) -> Floats:
    """NDCG of the fusion for each user, judged by a weight chosen on others."""
    part_of = np.random.default_rng(seed).permutation(len(trials.answers)) % FOLDS
    fused = gain_of(trials.candidates, trials.answers)
    for part in range(FOLDS):
        judged, chosen = np.flatnonzero(part_of == part), np.flatnonzero(part_of != part)
        weight = cautious_weight(trials.part(chosen))
        if weight < MOST_WEIGHT:
            fused[judged] = gain_of(trials.part(judged).fused(weight), trials.answers[judged])
    return fused


def _interval(gains: Floats, seed: int) -> tuple[float, float]:
    """Bounds of the mean gain, with zero between them where the fusion has moved the answers of too few people."""
    low, high = bootstrap.interval(gains, seed)
    if np.count_nonzero(gains) < LEAST_MOVED:
        low, high = min(low, 0.0), max(high, 0.0)
    return round(low, 6), round(high, 6)
