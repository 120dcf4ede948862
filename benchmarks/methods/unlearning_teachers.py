"""Removals in which teachers tell an adapter what to say to the forgotten and to the others.

They stop like the other descents (:mod:`benchmarks.methods.unlearning_descents`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.methods.compact_model import Trained, untrained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_descents import Watch, descend
from benchmarks.methods.unlearning_student import RATE, Loss, Student, batches, divergence, endless, loss, targets
from rag_rec.compact.sequences import Batch

AUGMENTING: Final = 20
"""Steps on the forgotten alone that make the augmented model."""
ALPHA: Final = 2.0
"""How hard a logit is lowered that rose in the augmented model."""
FORGETTING: Final = 0.4
"""Weight of the forgetting loss in the joint loss; the remembering loss has the rest."""
MOST_STEPS: Final = 200
EVERY: Final = 5
"""Steps between two looks at the gap, each of which costs as much as a step."""
MOST_JOINT: Final = 50


def e2urec(case: Case, rate: float = RATE) -> Trained:
    """Two teachers (E2URec: Wang et al., Frontiers of Computer Science 19(3):193327, 2025, arXiv 2403.03536).

    The augmented model is the original, trained further on the forgotten. The forgetting teacher is the original less
    :data:`ALPHA` times what the augmented model raised of each logit; the remembering teacher is the original, beside
    the cross-entropy of the others. As in the authors' code, forgetting goes first and alone, and the joint loss
    follows: by itself the joint loss does not get there, for one item among thousands is a small part of a divergence.
    The authors choose both numbers of steps by hand. Here the first phase ends where the forgotten are no likelier than
    people who were never in, and the second goes on as long as it stays so. The seconds count the augmented model.
    """
    started, watch, student, original = time.process_time(), Watch(case), Student(case, rate), Student(case)
    gone = cycle(_Lesson.all(case, original))

    def remember(student: Student, batch: Batch) -> Tensor:
        said = student.logits(batch)
        return functional.cross_entropy(said, targets(batch)) + divergence(_taught(original, batch), said)

    for step, lesson in enumerate(islice(gone, MOST_STEPS), 1):
        student.step(lesson.loss(student))
        if step % EVERY == 0 and watch.gap(student) <= 0.0:
            break
    found = student.trained()
    for lesson, others in islice(zip(gone, cycle(batches(case, case.retained)), strict=False), MOST_JOINT):
        student.step(FORGETTING * lesson.loss(student) + (1.0 - FORGETTING) * remember(student, others))
        if watch.gap(student) > 0.0:
            break
        found = student.trained()
    return replace(found, seconds=time.process_time() - started)


def lowered(before: Tensor, after: Tensor, alpha: float) -> Tensor:
    """The logits of the forgetting teacher, [n, v]: what rose is lowered, what fell stays."""
    return before - alpha * functional.relu(after - before)


def bad_teacher(case: Case, rate: float = RATE) -> Trained:
    """A teacher that knows no person for the forgotten, the original for the others: a baseline (Chundawat et al.,
    "Can Bad Teaching Induce Forgetting?", AAAI 2023, arXiv 2205.08096; their bad teacher has random weights, ours is
    the base)."""
    started = time.process_time()
    bad, good = pupil_of(Student(case, start=untrained(case.base))), pupil_of(Student(case))
    found = descend(case, Student(case, rate), bad, good, 0.5)
    return replace(found, seconds=time.process_time() - started)


def pupil_of(teacher: Student) -> Loss:
    """The divergence of what a student says from what this teacher says."""
    return lambda student, batch: divergence(_taught(teacher, batch), student.logits(batch))


@dataclass(frozen=True, slots=True)
class _Lesson:
    """A batch of the forgotten, and what the forgetting teacher says there."""

    batch: Batch
    taught: Tensor

    @classmethod
    def all(cls, case: Case, original: Student) -> list[_Lesson]:
        augmented, found = Student(case), batches(case, case.gone)
        for batch in islice(endless(case, case.gone), AUGMENTING):
            augmented.step(loss(augmented, batch))
        return [cls(each, lowered(_taught(original, each), _taught(augmented, each), ALPHA)) for each in found]

    def loss(self, student: Student) -> Tensor:
        return divergence(self.taught, student.logits(self.batch))


@torch.no_grad()
def _taught(teacher: Student, batch: Batch) -> Tensor:
    return teacher.logits(batch)
