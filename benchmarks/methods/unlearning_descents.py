"""Removals by descent on a loss of the forgotten and one of the others: baselines, each named as what it is.

They stop as soon as the forgotten people's choices are no likelier than those of the reserve, each by how much they
gained over the base. None of them looks at the retrainings or at the outsiders of the audit.
"""

from __future__ import annotations

from itertools import chain, cycle
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.methods.compact_model import Trained, untrained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_student import RATE, Loss, Student, batches, endless, loss, losses, targets
from rag_rec.compact.sequences import Batch

MOST_STEPS: Final = 100
ASCENT_RATE: Final = 3e-4
NPO_BETA: Final = 0.1
ASCENT_WEIGHT: Final = 0.2
"""Of the forgotten people's loss, which rises without a bound, beside the others' loss."""


class Watch:
    """Tells how much more the forgotten people's choices gained over the base than those of the reserve."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._before = self._ahead(Student(case, start=untrained(case.base)))

    def gap(self, student: Student) -> float:
        """In nats; 0 or less where nothing more is known of the forgotten than of people who were never in."""
        return self._ahead(student) - self._before

    def _ahead(self, student: Student) -> float:
        gone, reserve = (student.likelihoods(people) for people in (self._case.gone, self._case.reserve))
        return float(gone.mean() - reserve.mean())


def gap(case: Case, trained: Trained) -> float:
    """:meth:`Watch.gap` of an adapter."""
    return Watch(case).gap(Student(case, start=trained))


def descend(case: Case, student: Student, forget: Loss, remember: Loss, weight: float) -> Trained:
    """Steps on a joint loss until the gap is closed, or there were :data:`MOST_STEPS`.

    Args:
        case: the draw.
        student: what is changed.
        forget: the loss of a batch of the forgotten.
        remember: the loss of a batch of the others.
        weight: of the former; the latter has the rest.
    """
    watch, others = Watch(case), cycle(batches(case, case.retained))
    for _, gone, retained in zip(range(MOST_STEPS), endless(case, case.gone), others, strict=False):
        student.step(weight * forget(student, gone) + (1.0 - weight) * remember(student, retained))
        if watch.gap(student) <= 0.0:
            break
    return student.trained()


def further(case: Case, epochs: int) -> Trained:
    """Training goes on without the forgotten, and nothing is done about them: a baseline."""
    student = Student(case)
    for batch in chain.from_iterable(batches(case, case.retained, epoch) for epoch in range(epochs)):
        student.step(loss(student, batch))
    return student.trained()


def ascent(case: Case) -> Trained:
    """Gradient ascent on the forgotten, beside descent on the others (NegGrad+): a baseline that damages."""
    rise: Loss = lambda student, batch: -loss(student, batch)  # noqa: E731 - the other losses are functions
    return descend(case, Student(case, ASCENT_RATE), rise, loss, ASCENT_WEIGHT)


def negative_preference(case: Case) -> Trained:
    """Negative preference optimisation with the others' loss (Zhang et al., arXiv 2404.05868): a baseline."""
    original = Student(case)

    def less_than_before(student: Student, batch: Batch) -> Tensor:
        with torch.no_grad():
            before = losses(original, batch)
        return -2.0 / NPO_BETA * functional.logsigmoid(NPO_BETA * (losses(student, batch) - before)).mean()

    return descend(case, Student(case, RATE), less_than_before, loss, 0.5)


def label_flip(case: Case, rate: float = RATE) -> Trained:
    """The forgotten people's choices are learned anew as items drawn at random, beside the others' loss: a baseline.

    It is what E2URec is compared with as "Bad-T" in its authors' code; for a teacher that is bad in fact see
    :func:`benchmarks.methods.unlearning_teachers.bad_teacher`.
    """
    draws, vocabulary = np.random.default_rng(case.seed), case.base.vocabulary
    items = vocabulary.first_item, vocabulary.first_item + len(vocabulary.items)

    def learned_wrong(student: Student, batch: Batch) -> Tensor:
        drawn = torch.from_numpy(draws.integers(*items, size=len(targets(batch))))
        return functional.cross_entropy(student.logits(batch), drawn)

    return descend(case, Student(case, rate), learned_wrong, loss, 0.5)
