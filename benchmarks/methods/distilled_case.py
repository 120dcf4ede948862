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

    def one_part(self) -> Trained:
        """As the original, but the student reads the first part alone: of the others it knows what teachers tell."""
        settings = replace(self.settings, seed=self.seed)
        split = self._split(len(self.members), self.seed)
        how = ["one part", asdict(self.teaching), split.part.tolist()]
        return self.kept_or_made(self.members, settings, lambda: self._made(self.members, split, settings, [0]), *how)

    def part(self, number: int) -> Items:
        """The members of a part, sorted."""
        return self.members[self._split(len(self.members), self.seed).of(number)]

    def _split(self, people: int, seed: int) -> Split:
        parts = self.teaching.parts
        part = parts_at_random(people, parts, seed)
        return Split.own(part, parts) if self.teaching.own else Split.others(part, parts)

    def _made(
        self, people: Items, split: Split, settings: AdapterSettings, read: Sequence[int] | None = None
    ) -> Trained:
        ordinary = replace(Case(**_own(self)), settings=self.teaching.settings or self.settings)
        seeds = [teacher_seed(settings.seed, number) for number in range(len(split.saw))]
        teachers = [ordinary.trained(people[split.learners(number)], seed) for number, seed in enumerate(seeds)]
        started = time.process_time()
        models = [each.truncated(self.teaching.rank).model() for each in teachers]
        student = self._distillation(people, split, settings).student(models, read)
        for _ in range(settings.epochs):
            student.epoch(lambda _: None)
        seconds = time.process_time() - started + sum(each.seconds for each in teachers)
        return Trained(self.base, student.deltas(), seconds)

    def _distillation(self, people: Items, split: Split, settings: AdapterSettings) -> Distillation:
        vocabulary = self.base.vocabulary
        sequences = [TokenSequence(np.array([BOS]), vocabulary.first_item + items) for items in self.of(people)]
        return Distillation(self.base.model, sequences, split, vocabulary.first_spare, PAD, settings, CPU)


def _own(case: Case) -> dict[str, Any]:
    """What every case has."""
    return {each.name: getattr(case, each.name) for each in fields(Case)}
