"""Removals in which teachers tell an adapter what to say to the forgotten and to the others.

They stop like the other descents (:mod:`benchmarks.methods.unlearning_descents`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.methods.compact_model import Trained, untrained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_descents import descend
from benchmarks.methods.unlearning_student import Loss, Student, divergence, endless, loss, targets
from rag_rec.compact.sequences import Batch

AUGMENTING: Final = 10
"""Steps on the forgotten alone that make the augmented model."""
ALPHA: Final = 2.0
"""How hard a logit is lowered that rose in the augmented model."""
FORGETTING: Final = 0.4
"""Weight of the forgetting loss; the remembering loss has the rest."""


def e2urec(case: Case, alpha: float = ALPHA, steps: int = AUGMENTING) -> Trained:
    """Two teachers (E2URec: Wang et al., Frontiers of Computer Science 19(3):193327, 2025, arXiv 2403.03536).

    The augmented model is the original, trained further on the forgotten. The forgetting teacher is the original less
    ``alpha`` times what the augmented model raised of each logit; the remembering teacher is the original, beside the
    cross-entropy of the others. The authors choose the step to stop at by hand; here it is where the forgotten are as
    likely as people who were never in. The seconds are those of the augmented model too.
    """
    started, original, augmented = time.process_time(), Student(case), Student(case)
    for batch in islice(endless(case, case.gone), steps):
        augmented.step(loss(augmented, batch))

    def forget(student: Student, batch: Batch) -> Tensor:
        with torch.no_grad():
            before, after = original.logits(batch), augmented.logits(batch)
        return divergence(lowered(before, after, alpha), student.logits(batch))

    def remember(student: Student, batch: Batch) -> Tensor:
        said = student.logits(batch)
        return functional.cross_entropy(said, targets(batch)) + divergence(_taught(original, batch), said)

    found = descend(case, Student(case), forget, remember, FORGETTING)
    return replace(found, seconds=time.process_time() - started)


def lowered(before: Tensor, after: Tensor, alpha: float) -> Tensor:
    """The logits of the forgetting teacher, [n, v]: what rose is lowered, what fell stays."""
    return before - alpha * functional.relu(after - before)


def bad_teacher(case: Case) -> Trained:
    """A teacher that knows no person for the forgotten, the original for the others: a baseline (Chundawat et al.,
    "Can Bad Teaching Induce Forgetting?", AAAI 2023, arXiv 2205.08096; their bad teacher has random weights, ours is
    the base)."""
    started = time.process_time()
    nobody, original = pupil_of(Student(case, start=untrained(case.base))), pupil_of(Student(case))
    found = descend(case, Student(case), nobody, original, 0.5)
    return replace(found, seconds=time.process_time() - started)


def pupil_of(teacher: Student) -> Loss:
    """The divergence of what a student says from what this teacher says."""
    return lambda student, batch: divergence(_taught(teacher, batch), student.logits(batch))


@torch.no_grad()
def _taught(teacher: Student, batch: Batch) -> Tensor:
    return teacher.logits(batch)
