"""Ways to take people out of an adapter without training again, and baselines, each named as what it is.

Those that go by gradients stop as soon as the forgotten people's choices are no likelier than those of the reserve,
each by how much they gained over the base. None of them looks at the retrainings or at the outsiders of the audit.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from itertools import chain, count, cycle
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from benchmarks.methods.compact_model import Items, Trained, likelihoods
from benchmarks.methods.unlearning_case import Case
from rag_rec.compact.adapter import trained_weights
from rag_rec.compact.likelihood import Likelihood
from rag_rec.compact.sequences import NO_TARGET, Batch, TokenSequence, Windows
from rag_rec.compact.vocabulary import BOS, PAD
from rag_rec.influence import removal
from rag_rec.influence.removal import Effort, Rest, gradient_at_stop

MOST_STEPS: Final = 300
RATE: Final = 1e-3
ASCENT_RATE: Final = 3e-4
NPO_BETA: Final = 0.1
ASCENT_WEIGHT: Final = 0.2
"""Of the forgotten people's loss, which rises without a bound, beside the others' loss."""

Loss = Callable[["Student", Batch], Tensor]


def batches(case: Case, people: Items, epoch: int = 0) -> list[Batch]:
    """The windows of some people, as a training reads them."""
    first, settings = case.base.vocabulary.first_item, case.settings
    sequences = [TokenSequence(np.array([BOS]), first + items) for items in case.of(people)]
    return Windows(sequences, settings.context, settings.batch, PAD, case.seed).batches(epoch)


def influence(case: Case, effort: Effort, drawn: int | None) -> Trained:
    """Steps of Newton's method on what remains (:mod:`rag_rec.influence.removal`).

    The gradient at which the training stopped is not counted: a training would keep it.

    Args:
        case: the draw.
        effort: of the solves.
        drawn: batches that the curvature is taken from; None for all.
    """
    base, deltas = case.base, case.original.deltas
    likelihood = Likelihood(copy.deepcopy(base.model), base.vocabulary.first_spare)
    stop = gradient_at_stop(deltas, deltas, 0.0, likelihood.samples(batches(case, case.members)))
    started = time.process_time()
    left = likelihood.samples(batches(case, case.retained))
    found = removal.without(removal.Trained(deltas, deltas, 0.0, stop), Rest(left, left[:drawn]), effort)
    return Trained(base, found.weights, time.process_time() - started)


def further(case: Case, epochs: int) -> Trained:
    """Training goes on without the forgotten, and nothing is done about them: a baseline."""
    started, student = time.process_time(), Student(case, RATE)
    for batch in chain.from_iterable(batches(case, case.retained, epoch) for epoch in range(epochs)):
        student.step(loss(student, batch))
    return student.trained(time.process_time() - started)


def ascent(case: Case) -> Trained:
    """Gradient ascent on the forgotten, beside descent on the others (NegGrad+): a baseline that damages."""
    rise: Loss = lambda student, batch: -loss(student, batch)  # noqa: E731 - the other losses are functions
    return _descend(case, ASCENT_RATE, rise, ASCENT_WEIGHT)


def negative_preference(case: Case) -> Trained:
    """Negative preference optimisation with the others' loss (Zhang et al., arXiv 2404.05868): a baseline."""
    original = Student(case, RATE)

    def less_than_before(student: Student, batch: Batch) -> Tensor:
        with torch.no_grad():
            before = _losses(original, batch)
        return -2.0 / NPO_BETA * functional.logsigmoid(NPO_BETA * (_losses(student, batch) - before)).mean()

    return _descend(case, RATE, less_than_before, 0.5)


class Student:
    """A copy of the original adapter whose weights are changed step by step, without dropout."""

    def __init__(self, case: Case, rate: float) -> None:
        self._case = case
        self._model = case.original.model()
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

    def step(self, value: Tensor) -> None:
        """Descend one step on a loss."""
        self._optimiser.zero_grad()
        torch.autograd.backward(value)
        nn.utils.clip_grad_norm_(self._weights.values(), self._case.settings.clip)
        self._optimiser.step()

    def trained(self, seconds: float) -> Trained:
        """The adapter that the weights are now."""
        base = trained_weights(self._case.base.model)
        deltas = {name: (weight - base[name]).detach().clone() for name, weight in self._weights.items()}
        return Trained(self._case.base, deltas, seconds)


def loss(student: Student, batch: Batch) -> Tensor:
    """The mean cross-entropy."""
    return _losses(student, batch).mean()


def gap(case: Case, trained: Trained) -> float:
    """How much more the forgotten people's choices gained over the base than those of the reserve, in nats."""
    model = trained.model()
    model.train(mode=False)
    return _gained(case, model, case.gone) - _gained(case, model, case.reserve)


def _gained(case: Case, model: LlamaForCausalLM, people: Items) -> float:
    vocabulary, known, context = case.base.vocabulary, case.of(people), case.settings.context
    now, before = (likelihoods(each, vocabulary, known, context) for each in (model, case.base.model))
    return float((now - before).mean())


def _descend(case: Case, rate: float, forget: Loss, weight: float) -> Trained:
    started, student = time.process_time(), Student(case, rate)
    gone = chain.from_iterable(batches(case, case.gone, epoch) for epoch in count())
    retained: Iterator[Batch] = cycle(batches(case, case.retained))
    for _, theirs, others in zip(range(MOST_STEPS), gone, retained, strict=False):
        student.step(weight * forget(student, theirs) + (1.0 - weight) * loss(student, others))
        if gap(case, student.trained(0.0)) <= 0.0:
            break
    return student.trained(time.process_time() - started)


def _losses(student: Student, batch: Batch) -> Tensor:
    targets = torch.from_numpy(batch.targets[batch.targets != NO_TARGET])
    return functional.cross_entropy(student.logits(batch), targets, reduction="none")
