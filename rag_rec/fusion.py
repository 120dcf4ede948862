"""The fusion of candidate scores with the LLM's opinion, and the gate that decides whether the LLM is used at all.

Scores are fused log-linearly, ``weight x log p(candidate model) + log p(LLM)``: a product of experts (Hinton, "Training
products of experts by minimizing contrastive divergence", 2002) with one number learned on validation. An LLM that
does not beat its own input order there is bypassed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson
from scipy.optimize import minimize
from scipy.special import log_softmax

from rag_rec.artifacts.private import make_private_folder, write_durably
from rag_rec.errors import CorruptIndex

Floats = npt.NDArray[np.float64]
MOST_WEIGHT: Final = 100.0
"""Stands for an LLM whose opinion is worth nothing beside the candidates' scores."""
CUTOFF: Final = 10
RESAMPLES: Final = 1000
UNGATED_WEIGHT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether an LLM is used, with which weight of the candidates' scores, and what was measured to decide it.

    Attributes:
        use: whether the LLM takes part.
        weight: of the candidates' log-probability in the fusion; 0 leaves the order to the LLM alone.
        model: digest or name of the model that was measured.
        adapter: digest of its adapter.
        users: how many people's last choices were asked.
        candidates, llm, fused: NDCG@10 of the candidates' order, of the LLM's, and of the fusion (cross-fitted).
        gain: fused minus candidates, with a 95 % bootstrap interval over users.
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
        unfinished = path.with_suffix(".unfinished")
        write_durably(unfinished, orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> Gate | None:
        """Read back; None where nothing was measured. Raises ``CorruptIndex``."""
        try:
            fields = orjson.loads(path.read_bytes())
            gain = fields.pop("gain")
            gate = cls(**fields, gain=tuple(gain) if gain else None)
            if not isinstance(gate.use, bool) or not 0 <= float(gate.weight) <= MOST_WEIGHT:
                raise ValueError
            return gate
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CorruptIndex(f"{path.name} is damaged: measure again with `rag-rec generator gate`.") from None


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

    The decision is cross-fitted: the weight chosen on one half of the users is judged on the other, so that no user's
    choice speaks for its own weight.
    """
    gains, fused = _cross_fitted(trials, seed)
    candidates = gain_of(trials.candidates, trials.answers)
    low, high = _interval(gains, seed)
    return Gate(
        use=bool(gains.mean() > 0),
        weight=best_weight(trials),
        model=model,
        adapter=adapter,
        users=len(trials.answers),
        candidates=round(float(candidates.mean()), 6),
        llm=round(float(gain_of(trials.llm, trials.answers).mean()), 6),
        fused=round(float(fused.mean()), 6),
        gain=(round(low, 6), round(high, 6)),
    )


def best_weight(trials: Trials) -> float:
    """The weight under which the answers are likeliest.

    The log-likelihood of the answers under ``softmax(a x candidates + b x LLM)`` is concave in a and b, both at least
    0; the weight is a / b. It uses every answer among the candidates, where NDCG@10 jumps and looks at ten places.
    """
    known = trials.part(np.flatnonzero(trials.answers >= 0))
    if not len(known.answers):
        return MOST_WEIGHT
    experts = np.stack([known.candidates, known.llm])
    found = minimize(
        _unlikelihood, np.ones(2), (experts, known.answers), "L-BFGS-B", jac=True, bounds=[(0.0, None)] * 2
    )
    candidates, llm = found.x
    return round(float(min(MOST_WEIGHT, candidates / max(llm, 1e-9))), 3)


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
    return np.where(known & (rank < CUTOFF), 1.0 / np.log2(rank + 2.0), 0.0)


def _cross_fitted(trials: Trials, seed: int) -> tuple[Floats, Floats]:
    """Gain over the candidates' order and NDCG of the fusion, each user judged by a weight chosen on others."""
    users = np.random.default_rng(seed).permutation(len(trials.answers))
    halves = (np.sort(users[::2]), np.sort(users[1::2]))
    fused = np.zeros(len(users))
    for judged, chosen in (halves, halves[::-1]):
        weight = best_weight(trials.part(chosen))
        fused[judged] = gain_of(trials.part(judged).fused(weight), trials.answers[judged])
    return fused - gain_of(trials.candidates, trials.answers), fused


def _interval(gains: Floats, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    means = [gains[generator.integers(len(gains), size=len(gains))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
