"""Fits the projections of attention, so that the rows it attends to predict what the user takes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from rag_rec.errors import InvalidInput
from rag_rec.evidence.attention import LEAST_WEIGHT, TEMPERATURE
from rag_rec.evidence.projections import Projections


@dataclass(frozen=True, slots=True)
class Choice:
    """What a user took next: out of ``candidates`` float32 [c, d] the one in row ``taken``.

    ``history`` float32 [n, d] are the user's earlier rows and ``weights`` float64 [n] what the user thought of them, as
    in :class:`~rag_rec.evidence.protocol.Memory`. The vectors are unit vectors; every choice has as many candidates.
    """

    history: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]
    candidates: npt.NDArray[np.float32]
    taken: int


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How to fit: ``heads`` heads of ``width``, Adam with ``learning_rate`` over ``epochs`` in batches."""

    heads: int = 2
    width: int = 32
    epochs: int = 5
    batch: int = 64
    learning_rate: float = 1e-3
    seed: int = 0


def fit(choices: Sequence[Choice], options: FitOptions | None = None) -> Projections:
    """Projections with a low :func:`listwise_loss`. The same choices, options and threads give the same weights.

    Starts from random orthogonal projections scaled to the attention that there is without projections. Raises
    ``InvalidInput`` where there is nothing to learn from.
    """
    options = options or FitOptions()
    _check(choices, options)
    random = torch.Generator().manual_seed(options.seed)
    query, key = _initial(choices[0].history.shape[1], options, random)
    optimizer = torch.optim.Adam([query, key], lr=options.learning_rate)
    for _ in range(options.epochs):
        order = torch.randperm(len(choices), generator=random).tolist()
        for start in range(0, len(order), options.batch):
            batch = _Batch.of([choices[i] for i in order[start : start + options.batch]])
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(batch.scores(query, key), batch.taken))
            optimizer.step()
    return Projections(query.detach().numpy(), key.detach().numpy())


def listwise_loss(choices: Sequence[Choice], projections: Projections, batch: int = 64) -> float:
    """Mean cross-entropy of what was taken, in nats, under a softmax over the candidates.

    A candidate's score is how close it is to the user's rows as it attends to them, sum_i attention_i (k_i . q), over
    the temperature and averaged over heads: attention that picks the telling rows scores the taken item high.
    """
    query, key = torch.from_numpy(projections.query), torch.from_numpy(projections.key)
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(choices), batch):
            part = _Batch.of(choices[start : start + batch])
            total += float(cross_entropy(part.scores(query, key), part.taken, reduction="sum"))
    return total / len(choices)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Padded choices: history [b, n, d], prior [b, n] (log weight, -inf for padding), candidates [b, c, d]."""

    history: Tensor
    prior: Tensor
    candidates: Tensor
    taken: Tensor

    @classmethod
    def of(cls, choices: Sequence[Choice]) -> _Batch:
        priors = [torch.from_numpy(np.log(np.maximum(c.weights, LEAST_WEIGHT)).astype(np.float32)) for c in choices]
        return cls(
            history=pad_sequence([torch.from_numpy(c.history) for c in choices], batch_first=True),
            prior=pad_sequence(priors, batch_first=True, padding_value=-torch.inf),
            candidates=torch.from_numpy(np.stack([c.candidates for c in choices])),
            taken=torch.tensor([c.taken for c in choices]),
        )

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores of the candidates, [b, c], for projections [h, d, e]."""
        queries = torch.einsum("bcd,hde->bhce", self.candidates, query)
        keys = torch.einsum("bnd,hde->bhne", self.history, key)
        logits = queries @ keys.transpose(2, 3) * query.shape[2] ** -0.5 + self.prior[:, None, None, :]
        closeness = self.candidates @ self.history.transpose(1, 2)  # [b, c, n]
        attention: Tensor = logits.softmax(dim=-1).mean(dim=1)
        scores: Tensor = (attention * closeness).sum(dim=-1) / TEMPERATURE
        return scores


def _initial(dimension: int, options: FitOptions, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Equal query and key projections [h, d, e] whose scaled products are about cosine / temperature."""
    columns = torch.randn(options.heads, dimension, options.width, generator=random)
    orthogonal = torch.linalg.qr(columns).Q
    scale = (dimension / (options.width**0.5 * TEMPERATURE)) ** 0.5
    start = (orthogonal * scale).contiguous()
    return start.clone().requires_grad_(), start.clone().requires_grad_()


def _check(choices: Sequence[Choice], options: FitOptions) -> None:
    if not choices:
        raise InvalidInput("There are no choices to fit attention on: give the histories of users with later choices.")
    dimension, listed = choices[0].candidates.shape[1], len(choices[0].candidates)
    if not 1 <= options.width <= dimension:
        raise InvalidInput(f"A head's width has to be between 1 and the length of the vectors, {dimension}.")
    for choice in choices:
        if choice.candidates.shape != (listed, dimension) or choice.history.shape[1:] != (dimension,):
            raise InvalidInput("Every choice needs as many candidates, of vectors as long as those of its history.")
        if not len(choice.history) or len(choice.weights) != len(choice.history) or not 0 <= choice.taken < listed:
            raise InvalidInput("Every choice needs a history, a weight for each of its rows, and a candidate taken.")
