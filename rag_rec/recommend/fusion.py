"""The fusion of candidate scores with the LLM's opinion, and the gate that decides whether the LLM is used at all.

Scores are fused log-linearly, ``weight x log p(candidate model) + log p(LLM)``: a product of experts (Hinton, "Training
products of experts by minimizing contrastive divergence", 2002) with one number learned on validation. An LLM takes
part only where its gain over its own input order is above zero beyond the noise of the people who were asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from scipy.optimize import OptimizeResult, brentq, minimize
from scipy.special import log_softmax

from rag_rec.artifacts.private import make_private_folder, replace_durably
from rag_rec.domain import GateState
from rag_rec.errors import CorruptIndex
from rag_rec.evaluation import bootstrap
from rag_rec.evaluation.ranking import DEPTH
from rag_rec.evaluation.ranking import gains as ranked_gains

Floats = npt.NDArray[np.float64]
MOST_WEIGHT: Final = 100.0
"""Stands for an LLM whose opinion is worth nothing beside the candidates' scores."""
UNGATED_WEIGHT: Final = 1.0
METRIC: Final = f"ndcg@{DEPTH}"
FOLDS: Final = 5
"""Parts of the people for cross-fitting: each is judged by a weight chosen on the four others."""
LEAST_MOVED: Final = 20
"""People whose answers the fusion moves. A bootstrap of fewer is too sure: of four, all rise by chance once in 16."""
CAUTION: Final = 1.0
"""By so many standard errors the LLM's scale is lowered, after the one-standard-error rule of Breiman et al.
("Classification and Regression Trees", 1984): on thin evidence the fusion stays near the candidates' order."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether an LLM is used, with which weight of the candidates' scores, and what was measured to decide it.

    Attributes:
        use: whether the LLM takes part: the gate is open. What was measured decides, see :func:`helps`.
        weight: of the candidates' log-probability in the fusion; 0 leaves the order to the LLM alone.
        model: digest or name of the model that was measured.
        adapter: digest of its adapter.
        users: how many people's last choices were asked.
        candidates, llm, fused: NDCG@10 of the candidates' order, of the LLM's, and of the fusion (cross-fitted).
        gain: 95 % bootstrap interval over users of fused minus candidates.
    """

    use: bool
    weight: float
    model: str | None = None
    adapter: str | None = None
    users: int = 0
    candidates: float | None = None
    llm: float | None = None
    fused: float | None = None
    gain: tuple[float, float] | None = None

    def save(self, path: Path) -> None:
        """Write as JSON."""
        make_private_folder(path.parent)
        replace_durably(path, orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))

    @classmethod
    def load(cls, path: Path) -> Gate | None:
        """Read back; None where nothing was measured. Raises ``CorruptIndex``.

        What was measured is judged anew: earlier versions opened a gate whose gain may be none.
        """
        try:
            fields = orjson.loads(path.read_bytes())
            bounds = fields.pop("gain")
            gain = None
            if bounds is not None:
                low, high = bounds
                gain = float(low), float(high)
            gate = cls(**fields, gain=gain)
            if not isinstance(gate.use, bool) or not 0 <= float(gate.weight) <= MOST_WEIGHT:
                raise ValueError
            return replace(gate, use=helps(gain))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CorruptIndex(f"{path.name} is damaged: measure again with `rag-rec generator gate`.") from None

    @property
    def state(self) -> GateState:
        """What an answer says of it."""
        return GateState(self.use, METRIC, self.gain, self.users)

    def document(self) -> Mapping[str, Any]:
        """What commands show: everything, and the decision in words."""
        return {"decision": self.words, "metric": METRIC, **asdict(self)}

    @property
    def words(self) -> str:
        """What was measured and what follows from it, in a sentence."""
        if self.gain is None or self.fused is None or self.candidates is None or self.llm is None:
            return f"{'open' if self.use else 'closed'}: nothing was measured"
        state = "open" if self.use else "closed"
        low, high = self.gain
        why = "the whole interval is above zero" if self.use else "the interval does not lie above zero"
        gain = f"{self.fused - self.candidates:+.4f}, with a 95 % interval of {low:+.4f} to {high:+.4f}"
        return (
            f"{state}, because {why}: the fusion changes the {METRIC.upper()} of the candidates' order, "
            f"{self.candidates:.4f}, by {gain} over {self.users} people; the LLM alone has {self.llm:.4f}"
        )


def helps(gain: tuple[float, float] | None) -> bool:
    """Whether an LLM may take part: the lower bound of the 95 % interval of its gain lies above zero.

    Of LLMs that help nothing, one in forty gets through.
    """
    return gain is not None and gain[0] > 0.0


def gate_path(folder: Path, model: str, adapter: str | None) -> Path:
    """Where the gate of a model with an adapter is kept."""
    name = hashlib.sha256(f"{model}\0{adapter or ''}".encode()).hexdigest()[:32]
    return folder / f"{name}.json"


def discard_gates(folder: Path, gone: Collection[str], adapters: Collection[str]) -> None:
    """Remove what was measured of models that are gone, and of adapters other than those there are."""
    for path in folder.glob("*.json"):
        with suppress(CorruptIndex):
            gate = Gate.load(path)
            if gate is not None and (gate.model in gone or gate.adapter not in {None, *adapters}):
                path.unlink(missing_ok=True)


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
