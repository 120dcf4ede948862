"""A draw of people whose trainings are all split and distilled: the original, and the references of the attack."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from benchmarks.methods.compact_model import CPU, Items, Trained
from benchmarks.methods.unlearning_case import Case
from rag_rec.compact.distillation import Distillation, Split, parts_at_random, teacher_seed
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.vocabulary import BOS, PAD


@dataclass(frozen=True)
class Teaching:
    """Who teaches, and how.

    Attributes:
        parts: how many the people of each training are split into.
        own: each teacher learns from its own part, and not from the parts of the others.
        settings: of the teachers, but for their seeds; None for those of the student.
        rank: that the teachers are cut to; None leaves them whole.
    """

    parts: int
    own: bool = False
    settings: AdapterSettings | None = None
    rank: int | None = None


@dataclass(frozen=True)
class DistilledCase(Case):
    """As a case, with other trainings.

    Attributes:
        teaching: who teaches, and how.
    """

    teaching: Teaching = field(default_factory=lambda: Teaching(2))

    @classmethod
    def taught_by(cls, case: Case, teaching: Teaching) -> DistilledCase:
        """The same draw with students."""
        return cls(**_own(case), teaching=teaching)

    def trained(self, people: Items, seed: int) -> Trained:
        """A student of some people and its teachers, or the same from an earlier run."""
        settings = replace(self.settings, seed=seed)
        split = self._split(len(people), seed)
        how = ["distilled", asdict(self.teaching), split.part.tolist()]
        return self.kept_or_made(people, settings, lambda: self._made(people, split, settings), *how)

    def _split(self, people: int, seed: int) -> Split:
        parts = self.teaching.parts
        part = parts_at_random(people, parts, seed)
        return Split.own(part, parts) if self.teaching.own else Split.others(part, parts)

    def _made(self, people: Items, split: Split, settings: AdapterSettings) -> Trained:
        ordinary = replace(Case(**_own(self)), settings=self.teaching.settings or self.settings)
        seeds = [teacher_seed(settings.seed, number) for number in range(len(split.saw))]
        teachers = [ordinary.trained(people[split.learners(number)], seed) for number, seed in enumerate(seeds)]
        return self._taught(people, split, settings, teachers)

    def _taught(self, people: Items, split: Split, settings: AdapterSettings, teachers: Sequence[Trained]) -> Trained:
        started, vocabulary = time.process_time(), self.base.vocabulary
        sequences = [TokenSequence(np.array([BOS]), vocabulary.first_item + items) for items in self.of(people)]
        distillation = Distillation(self.base.model, sequences, split, vocabulary.first_spare, PAD, settings, CPU)
        student = distillation.student([each.truncated(self.teaching.rank).model() for each in teachers])
        for _ in range(settings.epochs):
            student.epoch(lambda _: None)
        seconds = time.process_time() - started + sum(each.seconds for each in teachers)
        return Trained(self.base, student.deltas(), seconds)


def _own(case: Case) -> dict[str, Any]:
    """What every case has."""
    return {each.name: getattr(case, each.name) for each in fields(Case)}
