"""An adapter whose weights are changed step by step, the batches that it reads, and the losses of a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain, count
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.methods.compact_model import Floats, Items, Trained, likelihoods
from benchmarks.methods.unlearning_case import Case
from rag_rec.compact.adapter import trained_weights
from rag_rec.compact.sequences import NO_TARGET, Batch, TokenSequence, Windows
from rag_rec.compact.vocabulary import BOS, PAD

RATE: Final = 1e-3


class Student:
    """A copy of an adapter whose weights are changed step by step, without dropout.

    Args:
        case: the draw.
        rate: of AdamW.
        start: the adapter; None for the original.
    """

    def __init__(self, case: Case, rate: float = RATE, start: Trained | None = None) -> None:
        self._started = time.process_time()
        self._case = case
        self._model = (start or case.original).model()
        self._model.requires_grad_(False)
        self._model.train(mode=False)
        self._weights = trained_weights(self._model)
        for weight in self._weights.values():
            weight.requires_grad_(True)
        self._optimiser = torch.optim.AdamW(self._weights.values(), rate, (0.9, 0.98), weight_decay=0.0)

    def logits(self, batch: Batch) -> Tensor:
        """Of the targets of a batch, [targets, tokens in use]."""
        asked = torch.from_numpy(batch.tokens)
        hidden: Tensor = self._model.model(input_ids=asked, use_cache=False).last_hidden_state
        head: Tensor = self._model.lm_head.weight[: self._case.base.vocabulary.first_spare]
        return hidden[torch.from_numpy(batch.targets != NO_TARGET)] @ head.T

    def likelihoods(self, people: Items) -> Floats:
        """Mean log-probability of the choices of some people, float64 [people]."""
        case = self._case
        return likelihoods(self._model, case.base.vocabulary, case.of(people), case.settings.context)

    def step(self, value: Tensor) -> None:
        """Descend one step on a loss."""
        self._optimiser.zero_grad()
        torch.autograd.backward(value)
        nn.utils.clip_grad_norm_(self._weights.values(), self._case.settings.clip)
        self._optimiser.step()

    def trained(self) -> Trained:
        """The adapter that the weights are now, with the processor seconds since the student was made."""
        base = trained_weights(self._case.base.model)
        deltas = {name: (weight - base[name]).detach().clone() for name, weight in self._weights.items()}
        return Trained(self._case.base, deltas, time.process_time() - self._started)


Loss = Callable[[Student, Batch], Tensor]


def batches(case: Case, people: Items, epoch: int = 0) -> list[Batch]:
    """The windows of some people, as a training reads them."""
    first, settings = case.base.vocabulary.first_item, case.settings
    sequences = [TokenSequence(np.array([BOS]), first + items) for items in case.of(people)]
    return Windows(sequences, settings.context, settings.batch, PAD, case.seed).batches(epoch)


def endless(case: Case, people: Items) -> Iterator[Batch]:
    """The batches of one epoch after the other."""
    return chain.from_iterable(batches(case, people, epoch) for epoch in count())


def targets(batch: Batch) -> Tensor:
    """The tokens to come, int64 [targets]."""
    return torch.from_numpy(batch.targets[batch.targets != NO_TARGET])


def losses(student: Student, batch: Batch) -> Tensor:
    """The cross-entropy of each target in nats, float [targets]."""
    return functional.cross_entropy(student.logits(batch), targets(batch), reduction="none")


def loss(student: Student, batch: Batch) -> Tensor:
    """The mean cross-entropy."""
    return losses(student, batch).mean()


def divergence(taught: Tensor, said: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence of what a student says from what a teacher says; logits [targets, v]."""
    teacher, student = (functional.log_softmax(each, dim=-1) for each in (taught, said))
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
