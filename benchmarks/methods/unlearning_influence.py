"""Removals by influence: steps of Newton's method on what remains, and two attempts to contain their damage."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import cycle
from typing import Final

import numpy as np

from benchmarks.methods.compact_model import Items, Trained, next_items
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_descents import Watch
from benchmarks.methods.unlearning_newton import WEIGHED, Start, choices_of, preconditioned, stop_of
from benchmarks.methods.unlearning_student import Student, batches
from benchmarks.methods.unlearning_teachers import pupil_of
from rag_rec.compact.stop import Stop, windows_of
from rag_rec.evaluation.audit.distance import jensen_shannon
from rag_rec.evaluation.membership import Floats
from rag_rec.influence import removal
from rag_rec.influence.kronecker import Kronecker
from rag_rec.influence.removal import Effort, Rest
from rag_rec.influence.vectors import add

ASKED: Final = 100
"""Retained people whose next item is asked for, to see how far a step went."""
MOST_REPAIRS: Final = 60
HALVINGS: Final = 7
"""Of the interval in which the length of a step lies."""


def influence(case: Case, effort: Effort, drawn: int | None) -> Trained:
    """Steps of Newton's method on what remains (:mod:`rag_rec.influence.removal`).

    Windows are cut as the product cuts them (:mod:`rag_rec.compact.stop`): those of a person who stays are the same
    with and without the others, or the difference of the gradients would be that of the cuts as well. The gradient at
    which the training stopped is not counted: a training would keep it.

    Args:
        case: the draw.
        effort: of the solves.
        drawn: batches that the curvature is taken from; None for all.
    """
    base, deltas = case.base, case.original.deltas
    stop = _stop(case)
    started = time.process_time()
    left = choices_of(case, case.retained)
    found = removal.without(removal.Trained(deltas, deltas, 0.0, stop.gradient), Rest(left, left[:drawn]), effort)
    return Trained(base, found.weights, time.process_time() - started)


def diagonal(case: Case, damping: float) -> Trained:
    """The same step by the curvature as a diagonal in a basis of each matrix (:mod:`rag_rec.influence.kronecker`)."""
    start = _start(case)
    started = time.process_time()
    near = Kronecker.of(start.deltas, start.drawn.small, case.seed)
    deltas = add(start.deltas, near.solved(start.pull, damping))
    return Trained(case.base, deltas, time.process_time() - started)


def product(case: Case, damping: float | None = None, share: float = 1.0, *, as_long: bool = False) -> Trained:
    """The same step as the product takes it: the diagonal is the preconditioner (:mod:`rag_rec.influence.newton`).

    Args:
        case: the draw.
        damping: None for that of the product.
        share: of it.
        as_long: see :func:`benchmarks.methods.unlearning_newton.preconditioned`.
    """
    start = _start(case)
    started = time.process_time()
    deltas = preconditioned(start, share * (start.damping if damping is None else damping), as_long=as_long)
    return Trained(case.base, deltas, time.process_time() - started)


def repaired(case: Case, effort: Effort, drawn: int | None) -> Trained:
    """:func:`influence`, then steps on the retained people towards what the original says to them, until the forgotten
    are as likely again as people who were never in."""
    moved = influence(case, effort, drawn)
    started, student = time.process_time(), Student(case, start=moved)
    mend, watch, found = pupil_of(Student(case)), Watch(case), moved
    for _, batch in zip(range(MOST_REPAIRS), cycle(batches(case, case.retained)), strict=False):
        student.step(mend(student, batch))
        if watch.gap(student) > 0.0:
            break
        found = student.trained()
    return replace(found, seconds=moved.seconds + time.process_time() - started)


def trusted(case: Case, effort: Effort, drawn: int | None) -> Trained:
    """:func:`influence`, with the step shortened until it says to retained people what a training with another seed
    could have said: the divergence from the original is that of such a training, or less.

    That training learned from the same members, and is not counted: it serves every removal to come.
    """
    moved = influence(case, effort, drawn)
    twin = case.trained(case.members, 1000 * (case.seed + 1) + 900)
    started, said = time.process_time(), _Said(case)
    edge, low, high = said.apart(twin), 0.0, 1.0
    if said.apart(moved) > edge:
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            low, high = (middle, high) if said.apart(_part(case.original, moved, middle)) <= edge else (low, middle)
    else:
        low = 1.0
    return replace(_part(case.original, moved, low), seconds=moved.seconds + time.process_time() - started)


def _start(case: Case) -> Start:
    return Start(case, case.retained, case.original.deltas, _stop(case))


def _stop(case: Case) -> Stop:
    """Where the training of everybody stopped: made once, since a training would keep it."""

    def made() -> Trained:
        return Trained(case.base, dict(stop_of(case, case.members, case.original.deltas).gradient), 0.0)

    settings = replace(case.settings, seed=case.seed)
    gradient = case.kept_or_made(case.members, settings, made, "stop", WEIGHED).deltas
    return Stop(gradient, windows_of(choices_of(case, case.members)))


class _Said:
    """What the original says to a sample of the retained people."""

    def __init__(self, case: Case) -> None:
        self._case = case
        people: Items = np.random.default_rng([case.seed, 3]).permutation(case.retained)[:ASKED]
        self._histories = case.of(people)
        self._original = self._by(case.original)

    def apart(self, trained: Trained) -> float:
        """The mean divergence of what an adapter says from it, in nats."""
        return float(jensen_shannon(self._original, self._by(trained)).mean())

    def _by(self, trained: Trained) -> Floats:
        model, case = trained.model(), self._case
        model.train(mode=False)
        return next_items(model, case.base.vocabulary, self._histories, case.settings.context)


def _part(original: Trained, moved: Trained, length: float) -> Trained:
    step = add(moved.deltas, original.deltas, -1.0)
    return replace(moved, deltas=add(original.deltas, step, length))
