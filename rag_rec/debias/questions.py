"""What the compact generator says of each person's candidates, as a function of the adapter's differences.

The prompts are those that the service sends, so that what is changed here is what is served. A prompt ends where the
answer is to come, and the logits there are the opinion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from rag_rec.compact.base import Base
from rag_rec.compact.likelihood import Likelihood
from rag_rec.compact.sequences import NO_TARGET, Batch
from rag_rec.compact.vocabulary import PAD
from rag_rec.errors import InvalidInput
from rag_rec.fairness.groups import Numbers
from rag_rec.fairness.served import Floats
from rag_rec.influence.curvature import Samples
from rag_rec.influence.jacobian import Jacobian
from rag_rec.influence.vectors import Vector, add, zeros

TOGETHER: Final = 64
"""Prompts in a batch."""
NO_LABEL: Final = -1
"""Where there is no candidate, or it has no token."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Prompts about candidates.

    Attributes:
        batches: give the logits float [people, tokens in use] after each prompt, in the order of the people.
        labels: the token of each candidate, int64 [people, n]; :data:`NO_LABEL` where there is none.
        instead: what counts where a candidate has no token, so that the service would not use the answer: float64
            [people, n], -inf where there is no candidate.
    """

    batches: Sequence[Samples]
    labels: Numbers
    instead: Floats

    @classmethod
    def of(
        cls, base: Base, known: int, prompts: Sequence[Sequence[int]], labels: Numbers, instead: Floats
    ) -> Questions:
        """For a base, which is changed, see :class:`rag_rec.compact.likelihood.Likelihood`.

        Args:
            base: reads the prompts.
            known: tokens below this number were in use at the training; others have no label.
            prompts: token ids, at least one each.
            labels: see the attributes; ``instead`` too.
            instead: what the candidates' own order has for scores.

        Raises:
            InvalidInput: there is no prompt.
        """
        if not prompts:
            raise InvalidInput("There is no person to ask: give at least one prompt.")
        starts = range(0, len(prompts), TOGETHER)
        batches = Likelihood(base.model, known).samples(_packed(prompts[start : start + TOGETHER]) for start in starts)
        return cls(batches, np.where(labels < known, labels, NO_LABEL), instead)

    def __len__(self) -> int:
        """How many people are asked."""
        return len(self.labels)

    def opinions(self, deltas: Vector) -> Tensor:
        """The log-probability of each candidate among those of the person, float [people, n]; -inf where none is."""
        found = torch.log_softmax(self._masked(self._asked(deltas)), dim=1)
        return torch.where(torch.as_tensor(self._answered)[:, None], found, torch.as_tensor(self.instead).float())

    def back(self, deltas: Vector, slopes: Tensor) -> dict[str, Tensor]:
        """The gradient by the differences of a number whose derivatives by the opinions are ``slopes`` [people, n].

        Opinions are log-probabilities, so that their derivatives by the logits are the slopes less what they sum to.
        """
        total, start = zeros(deltas), 0
        for batch in self.batches:
            rows = slice(start, start + len(batch.targets))
            start = rows.stop
            total = add(total, self._pulled(batch, rows, deltas, slopes[rows]))
        return total

    @property
    def _answered(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.asarray(~((self.labels == NO_LABEL) & np.isfinite(self.instead)).any(axis=1))

    def _asked(self, deltas: Vector) -> Tensor:
        """The logits of the candidates, float [people, n]; of any token where there is none."""
        with torch.no_grad():
            logits = [batch.logits(deltas) for batch in self.batches]
        labels = torch.as_tensor(np.maximum(self.labels, 0))
        rows = torch.split(labels, [len(each) for each in logits])
        return torch.cat([each.gather(1, chosen) for each, chosen in zip(logits, rows, strict=True)])

    def _masked(self, values: Tensor) -> Tensor:
        return values.masked_fill(torch.as_tensor(self.labels == NO_LABEL), -torch.inf)

    def _pulled(self, batch: Samples, rows: slice, deltas: Vector, slopes: Tensor) -> dict[str, Tensor]:
        jacobian = Jacobian(batch.logits, deltas)
        there = torch.as_tensor((self.labels[rows] != NO_LABEL) & self._answered[rows][:, None])
        labels = torch.as_tensor(np.maximum(self.labels[rows], 0))
        logits = jacobian.logits.gather(1, labels).masked_fill(~there, -torch.inf)
        likely = torch.nan_to_num(torch.softmax(logits, dim=1))
        slopes = torch.where(there, slopes.float(), 0.0)
        slopes = slopes - likely * slopes.sum(dim=1, keepdim=True)
        return jacobian.back(torch.zeros_like(jacobian.logits).scatter_add(1, labels, slopes))


def _packed(prompts: Sequence[Sequence[int]]) -> Batch:
    """Prompts padded on the right; only the position after the last token is asked for."""
    tokens = np.full((len(prompts), max(map(len, prompts))), PAD, dtype=np.int64)
    targets = np.full_like(tokens, NO_TARGET)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
        targets[row, len(prompt) - 1] = 0  # any: what is learned there is not looked at
    return Batch(tokens, targets)
