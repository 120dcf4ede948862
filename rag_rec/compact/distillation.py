"""Trains an adapter whose people are learned only through models that never saw them.

People are split into parts. Each teacher is an ordinary training on some of the parts. The student reads everybody, and
what it learns after a person's items is not the item that the person chose, but what the teachers expect there that
never saw the person: the mean of their distributions. This is the self-distillation of Tang et al., "Mitigating
Membership Inference Attacks by Self-Distillation Through a Novel Ensemble Architecture" (SELENA), USENIX Security 2022.

It is no proof. A teacher of one person has seen others, and what it remembers of them shows in what it expects after
the first one's items: a student can remember people whom it never read. ``docs/unlearning.md`` has the figures.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from rag_rec.compact.adapter import Deltas, trained_weights
from rag_rec.compact.sequences import NO_TARGET, Batch, Tokens, TokenSequence, Windows
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.errors import InvalidInput

Saw = npt.NDArray[np.bool_]
"""Which parts each teacher learns from, bool [teachers, parts]."""


@dataclass(frozen=True, slots=True)
class Split:
    """People in parts, and who teaches whom.

    Attributes:
        part: of each person, int64 [people].
        saw: which parts each teacher learns from, bool [teachers, parts].
    """

    part: Tokens
    saw: Saw

    def __post_init__(self) -> None:
        """Refuse what leaves a person without a teacher, or a teacher without people."""
        parts = self.saw.shape[1]
        if parts < 2:
            raise InvalidInput(f"The number of parts is {parts}: split the people into at least 2.")
        if len(np.unique(self.part)) != parts or not np.isin(self.part, np.arange(parts)).all():
            raise InvalidInput(
                f"{len(self.part)} people do not fill {parts} parts numbered from 0: give every part somebody, "
                "or split into fewer."
            )
        if bool(self.saw.all(axis=0).any()) or not bool(self.saw.any(axis=1).all()):
            raise InvalidInput("Every part needs a teacher that does not see it, and every teacher a part: change saw.")

    @classmethod
    def others(cls, part: Tokens, parts: int) -> Split:
        """As many teachers as parts; each learns from all parts but its own."""
        return cls(part, ~np.eye(parts, dtype=np.bool_))

    @classmethod
    def own(cls, part: Tokens, parts: int) -> Split:
        """As many teachers as parts; each learns from its own part, so that a person has all but one of them."""
        return cls(part, np.eye(parts, dtype=np.bool_))

    def learners(self, teacher: int) -> Tokens:
        """The people that a teacher learns from, int64, sorted."""
        return np.flatnonzero(self.saw[teacher][self.part])

    def of(self, part: int) -> Tokens:
        """The people of a part, int64, sorted."""
        return np.flatnonzero(self.part == part)


def parts_at_random(people: int, parts: int, seed: int) -> Tokens:
    """A part for each person, int64 [people]: parts of equal size, but for one person."""
    if not 2 <= parts <= people:
        raise InvalidInput(
            f"{people} people cannot be split into {parts} parts: choose at least 2 parts, "
            "and at most one for each person."
        )
    return np.random.default_rng(seed).permutation(np.arange(people) % parts)


class Teachers:
    """What models that never saw a person expect.

    Args:
        models: the trained teachers; they are put into evaluation mode.
        saw: which parts each learned from.
        known: tokens below this number are in use; the softmax is over them.
        device: where.
    """

    def __init__(self, models: Sequence[LlamaForCausalLM], saw: Saw, known: int, device: torch.device) -> None:
        for model in models:
            nn.Module.to(model, device).train(mode=False)
        self._models = models
        self._saw = saw
        self._known = known
        self._device = device

    def of(self, part: int) -> list[LlamaForCausalLM]:
        """Those that did not see a part."""
        return [model for model, saw in zip(self._models, self._saw[:, part], strict=True) if not saw]

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """The mean of their distributions at the targets of a batch, float32 [targets, tokens in use]."""
        found = [self._expects(model, batch) for model in self.of(batch.part)]
        return torch.stack(found).mean(dim=0)

    def _expects(self, model: LlamaForCausalLM, batch: Batch) -> Tensor:
        tokens = torch.from_numpy(batch.tokens).to(self._device)
        learned = torch.from_numpy(batch.targets != NO_TARGET).to(self._device)
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[learned]
        return functional.softmax(hidden @ model.lm_head.weight[: self._known].T, dim=-1)


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Batches of several windows in random order, each of one part alone."""

    windows: Sequence[Windows]
    seed: int

    def batches(self, epoch: int) -> list[Batch]:
        """The batches of an epoch."""
        every = [batch for windows in self.windows for batch in windows.batches(epoch)]
        draws = np.random.default_rng([self.seed, epoch, len(self.windows)])
        return [every[place] for place in draws.permutation(len(every))]


@dataclass(frozen=True, eq=False)
class Distillation:
    """The trainings of a student and of its teachers.

    Attributes:
        base: what all of them are trained on; it stays as it is.
        people: whom the student reads.
        split: of the people.
        known: tokens below this number are in use.
        padding: the token that fills up short rows.
        settings: of the student.
        device: where.
        teaching: settings of the teachers, but for their seeds; None for those of the student.
    """

    base: LlamaForCausalLM
    people: Sequence[TokenSequence]
    split: Split
    known: int
    padding: int
    settings: AdapterSettings
    device: torch.device
    teaching: AdapterSettings | None = None

    def __post_init__(self) -> None:
        """Refuse a split of other people."""
        if len(self.people) != len(self.split.part):
            raise InvalidInput(f"{len(self.people)} people, and parts of {len(self.split.part)}: split these people.")

    def deltas(self) -> Deltas:
        """Train all of them; the student's differences to the base."""
        teachers = [
            self._merged(_finished(self.teacher(number), self._teaching.epochs))
            for number in range(len(self.split.saw))
        ]
        return _finished(self.student(teachers), self.settings.epochs)

    def teacher(self, number: int) -> AdapterTraining:
        """The ordinary training of a teacher, on the people that it may see."""
        settings = replace(self._teaching, seed=teacher_seed(self.settings.seed, number))
        windows = self._windows(self.split.learners(number), settings, 0)
        return AdapterTraining(copy.deepcopy(self.base), windows, self.known, settings, self.device)

    def student(self, teachers: Sequence[LlamaForCausalLM], read: Sequence[int] | None = None) -> AdapterTraining:
        """The training of the student by trained teachers, in the order of ``split.saw``.

        ``read`` names the parts that it reads; None is all, and with fewer one can tell whom it remembers through whom.
        """
        settings = self.settings
        parts = range(self.split.saw.shape[1]) if read is None else read
        windows = [self._windows(self.split.of(part), settings, part) for part in parts]
        targets = Teachers(teachers, self.split.saw, self.known, self.device)
        batches = Interleaved(windows, settings.seed)
        return AdapterTraining(copy.deepcopy(self.base), batches, self.known, settings, self.device, targets)

    @property
    def _teaching(self) -> AdapterSettings:
        return self.teaching or self.settings

    def _windows(self, people: Tokens, settings: AdapterSettings, part: int) -> Windows:
        sequences = [self.people[person] for person in people.tolist()]
        return Windows(sequences, settings.context, settings.batch, self.padding, settings.seed, part)

    def _merged(self, deltas: Deltas) -> LlamaForCausalLM:
        model = copy.deepcopy(self.base)
        with torch.no_grad():
            for name, weight in trained_weights(model).items():
                weight.add_(deltas[name].to(weight.device))
        return model


def teacher_seed(seed: int, number: int) -> int:
    """The seed of a teacher of a student with this seed: no two of a student's trainings share one."""
    return 1_000_000 + 100 * seed + number


def _finished(training: AdapterTraining, epochs: int) -> Deltas:
    for _ in range(epochs):
        training.epoch(lambda _: None)
    return training.deltas()
