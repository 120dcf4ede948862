"""A draw of people whose trainings are all split and distilled: the original, and the references of the attack."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.methods.compact_model import CPU, Items, Trained
from benchmarks.methods.unlearning_case import Case
from rag_rec.compact.distillation import Distillation, Split, parts_at_random, teacher_seed
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.vocabulary import BOS, PAD


@dataclass(frozen=True)
class DistilledCase(Case):
    """As a case, with other trainings.

    Attributes:
        parts: how many the people of each training are split into.
        own: each teacher learns from its own part, and not from the parts of the others.
        student_epochs: of the students; None for those of the teachers.
    """

    parts: int = 2
    own: bool = False
    student_epochs: int | None = None

    def trained(self, people: Items, seed: int) -> Trained:
        """A student of some people and its teachers, or the same from an earlier run."""
        settings = replace(self.settings, seed=seed)
        student = replace(settings, epochs=self.student_epochs or settings.epochs)
        split = self._split(len(people), seed)
        how = ["distilled", settings.epochs, split.part.tolist(), split.saw.tolist()]
        return self.kept_or_made(people, student, lambda: self._made(people, split, student, seed), *how)

    def _split(self, people: int, seed: int) -> Split:
        part = parts_at_random(people, self.parts, seed)
        return Split.own(part, self.parts) if self.own else Split.others(part, self.parts)

    def _made(self, people: Items, split: Split, settings: AdapterSettings, seed: int) -> Trained:
        numbers = range(len(split.saw))
        teachers = [
            super(DistilledCase, self).trained(people[split.learners(n)], teacher_seed(seed, n)) for n in numbers
        ]
        return self._taught(people, split, settings, teachers)

    def _taught(self, people: Items, split: Split, settings: AdapterSettings, teachers: Sequence[Trained]) -> Trained:
        started, vocabulary = time.process_time(), self.base.vocabulary
        sequences = [TokenSequence(np.array([BOS]), vocabulary.first_item + items) for items in self.of(people)]
        distillation = Distillation(self.base.model, sequences, split, vocabulary.first_spare, PAD, settings, CPU)
        student = distillation.student([each.model() for each in teachers])
        for _ in range(settings.epochs):
            student.epoch(lambda _: None)
        seconds = time.process_time() - started + sum(each.seconds for each in teachers)
        return Trained(self.base, student.deltas(), seconds)
