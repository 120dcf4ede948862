"""Fits the reranker: a softmax over each query's candidates, of which exactly one was chosen (listwise, cross-entropy).

The softmax over candidates is ListNet's top-one loss with a single relevant item (Cao et al., "Learning to Rank: From
Pairwise Approach to Listwise Approach", ICML 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from rag_rec.candidates.reranker import Network, Standard, Weights

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Choices:
    """Examples to fit on: ``features`` float32 [queries, candidates, features] and the position of the chosen one.

    ``valid`` [queries, candidates] is False where a query has fewer candidates than the others. ``people`` int64
    [queries] says who chose, where that matters.
    """

    features: Weights
    chosen: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_]
    people: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.chosen)

    def part(self, rows: npt.NDArray[np.bool_]) -> Choices:
        """Some of the choices: those where ``rows`` [queries] is True."""
        people = self.people[rows] if len(self.people) else self.people
        return Choices(self.features[rows], self.chosen[rows], self.valid[rows], people)

    def standard(self) -> Standard:
        """Mean and scale of the features of valid candidates. A constant feature gets scale 1."""
        rows = self.features[self.valid].astype(np.float64)
        scale = rows.std(axis=0)
        scale[scale < 1e-6] = 1.0
        return Standard(rows.mean(axis=0).astype(np.float32), scale.astype(np.float32))

    def standardised(self, standard: Standard) -> Choices:
        """The same choices with standardised features."""
        features = np.empty_like(self.features)
        for row, values in enumerate(self.features):
            features[row] = standard.apply(values)
        return Choices(features, self.chosen, self.valid, self.people)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to fit."""

    epochs: int
    rate: float
    decay: float = 1e-4
    batch: int = 64


COARSE_LINEAR = Schedule(epochs=30, rate=2e-2)
LINEAR = Schedule(epochs=8, rate=5e-3)
NETWORK = Schedule(epochs=8, rate=2e-3)


class _Scorer(torch.nn.Module):
    """A linear model, plus a network of two hidden layers where ``hidden`` is not 0."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(features, 1, bias=False)
        torch.nn.init.zeros_(self.linear.weight)
        self.network = _network(features, hidden) if hidden else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:  # [b, c, f] -> [b, c]
        scores = self.linear(inputs)
        if self.network is not None:
            scores = scores + self.network(inputs)
        return torch.squeeze(scores, -1)


def _network(features: int, hidden: int) -> torch.nn.Sequential:
    gelu = torch.nn.GELU(approximate="tanh")
    last = torch.nn.Linear(hidden, 1, bias=False)
    return torch.nn.Sequential(torch.nn.Linear(features, hidden), gelu, torch.nn.Linear(hidden, hidden), gelu, last)


def fit_linear(choices: Choices, seed: int, schedule: Schedule = LINEAR) -> Weights:
    """Weights of a linear model over standardised choices, float32 [features]."""
    scorer = _fit(choices, 0, seed, schedule, None)
    return _array(scorer.linear.weight[0])


def fit_network(
    choices: Choices, hidden: int, seed: int, schedule: Schedule = NETWORK, progress: Progress | None = None
) -> tuple[Weights, Network]:
    """A linear model and a network whose sum scores standardised choices.

    ``progress`` is told the finished share, from 0 to 1.
    """
    scorer = _fit(choices, hidden, seed, schedule, progress)
    assert scorer.network is not None  # noqa: S101
    layers = [layer for layer in scorer.network if isinstance(layer, torch.nn.Linear)]
    first, second, last = layers
    network = Network(
        _array(first.weight.T), _array(first.bias), _array(second.weight.T), _array(second.bias), _array(last.weight[0])
    )
    return _array(scorer.linear.weight[0]), network


def _fit(choices: Choices, hidden: int, seed: int, schedule: Schedule, progress: Progress | None) -> _Scorer:
    batches = -(-len(choices) // schedule.batch)
    with _reproducible(seed):
        scorer = _Scorer(choices.features.shape[2], hidden)
        optimiser = torch.optim.AdamW(scorer.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
        steps = schedule.epochs * batches
        rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step / steps))
        for step, batch in enumerate(_batches(choices, schedule, seed)):
            optimiser.zero_grad()
            _loss(scorer, choices, batch).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rates.step()
            if progress and step % 32 == 0:
                progress(step / steps)
    return scorer


def _loss(scorer: _Scorer, choices: Choices, batch: npt.NDArray[np.int64]) -> torch.Tensor:
    scores = scorer(torch.from_numpy(choices.features[batch]))
    scores = scores.masked_fill(~torch.from_numpy(choices.valid[batch]), -torch.inf)
    return torch.nn.functional.cross_entropy(scores, torch.from_numpy(choices.chosen[batch]))


def _batches(choices: Choices, schedule: Schedule, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    for _ in range(schedule.epochs):
        order = generator.permutation(len(choices))
        for start in range(0, len(order), schedule.batch):
            yield order[start : start + schedule.batch]


def _rate(share: float) -> float:
    """Rises over the first tenth, then falls along a cosine."""
    if share < 0.1:
        return 0.04 + 0.96 * share / 0.1
    return float(0.5 * (1.0 + np.cos(np.pi * (share - 0.1) / 0.9)))


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """One thread and a seed of our own; what others have set is put back."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


def _array(tensor: torch.Tensor) -> Weights:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)
