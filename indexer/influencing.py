"""Removal by influence: one step of Newton's method takes the forgotten out of the adapter in use, without a training.

The step starts from what the training left (:mod:`rag_rec.compact.stop`) and from the people who remain
(:mod:`rag_rec.influence.removal` has the equation). It is not exact. So it is tried first on people who stay, and
measured on them (:mod:`rag_rec.adapters.measured`); where the trial fails, nothing changes.

The new adapter keeps the gradient of those who remain at its own weights. So the next removal takes out those who go
next, and nothing else: held against the gradient of the training, the change that the first step predicted badly would
be taken for people who are to go. Nothing that is kept was computed from a person who went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

import torch
from torch import Tensor

from indexer.compact_build import CompactBuilder, alone
from indexer.learned import RETRAIN
from indexer.remainder import Remainder
from indexer.trainer import KEPT
from indexer.trial import Trial, stand_ins
from rag_rec.adapters.measured import Measured
from rag_rec.adapters.removal import Removal, waiting
from rag_rec.compact.adapter import served
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.stop import FEW, Stop, drawn_of, shorter, usual_damping, windows_of
from rag_rec.engine.tending import occupied
from rag_rec.errors import Busy, InvalidInput
from rag_rec.influence.curvature import total_gradient
from rag_rec.influence.kronecker import PASSES
from rag_rec.influence.newton import PRODUCTS, Newton
from rag_rec.influence.vectors import Vector, add, scaled
from rag_rec.progress.protocol import SILENT, Progress

REST: Final = "those who remain"
"""What the progress calls the first pass over everybody."""
TRIALS: Final = 4
STIFFER: Final = 4.0
"""How much more a step is damped than one that went too far on trial."""
NOTHING: Final = "Nothing remains that was learned: activate `none` with `rag-rec compact activate`."


@dataclass(frozen=True, slots=True)
class Influence:
    """A :class:`rag_rec.adapters.removal.Removal` that is measured.

    Attributes:
        builder: of the system, with the settings of the adapter in use.
        damping: of the solves; None for :func:`rag_rec.compact.stop.usual_damping`, and more where a trial goes too
            far. There is one step, since a second one went astray.
    """

    builder: CompactBuilder
    damping: float | None = None

    name: ClassVar[str] = "influence"
    exact: ClassVar[bool] = False

    def remove(self, requests: Sequence[str]) -> str:
        """See :meth:`rag_rec.adapters.removal.Removal.remove`; interrupted, nothing has changed, and the passes over
        everybody go on where they were.

        Raises:
            InvalidInput: the adapter keeps nothing to remove people by, a solve diverged, or the trial failed.
            NotReady: there is no compact generator.
            Busy: other requests wait than these, or as in the protocol.
        """
        builder, told = self.builder, self.builder.progress
        with alone(builder.compact), occupied(builder.settings, builder.store) as place:
            told.stage("read people", 0)
            remainder = Remainder.read(builder)
            if set(waiting(builder.compact, builder.store)) != set(requests):  # their receipts would not say so
                raise Busy("A person was forgotten meanwhile: run the same command again.")
            publisher, people = builder.publisher(place), remainder.learned()
            sums, samples = remainder.sums(publisher, told), remainder.samples(people)
            rest = sums.total(REST, remainder.deltas(), people, samples)
            step, measured = Step.at(remainder, rest, self.damping, told).tried(len(requests), self.name)
            if measured.problem:
                raise InvalidInput(f"The removal is refused, and nothing has changed: {measured.problem}; {RETRAIN}.")
            told.stage("remove", PRODUCTS)
            deltas = step.without(step.rest, step.windows)
            total = sums.total(KEPT, deltas, people, samples)
            stop = Stop.summed(total, step.windows)
            digest = remainder.replace(publisher, deltas, stop, dict.fromkeys(requests, measured))
            sums.clear()
        return digest


@dataclass(frozen=True, slots=True)
class Step:
    """A step from the adapter in use.

    Attributes:
        remainder: who remains.
        damping: of the solve.
        trials: how many dampings may be tried.
        deltas: the adapter's.
        newton: solves from there.
        windows: how many windows remain.
        rest: the sum of their gradients.
        told: hears of each try.
    """

    remainder: Remainder
    damping: float
    trials: int
    deltas: Vector
    newton: Newton
    windows: int
    rest: Vector
    told: Progress

    @classmethod
    def at(
        cls,
        remainder: Remainder,
        rest: Vector | None = None,
        damping: float | None = None,
        told: Progress = SILENT,
    ) -> Step:
        """With the gradients of everybody who remains, and one try at a damping that is given.

        Args:
            remainder: who remains.
            rest: the sum of their gradients; None to make it.
            damping: None for the usual one.
            told: hears how far it has come.

        Raises:
            InvalidInput: nothing remains that was learned.
        """
        deltas, settings, learned = remainder.deltas(), remainder.settings, remainder.learned()
        samples, small = remainder.samples(learned), remainder.samples(learned, FEW)
        if not samples:
            raise InvalidInput(NOTHING)
        drawn, windows = drawn_of(samples, small), windows_of(samples)
        told.stage("curvature", PASSES * len(drawn.small))
        newton = Newton(deltas, drawn, settings.seed, told)
        held, trials = (usual_damping(settings, windows), TRIALS) if damping is None else (damping, 1)
        rest = total_gradient(deltas, samples) if rest is None else rest
        return cls(remainder, held, trials, deltas, newton, windows, rest, told)

    def tried(self, requests: int, name: str) -> tuple[Step, Measured]:
        """The step on trial, damped more after each trial in which it went too far; and what its trial says."""
        step, measured = self, self.on_trial(requests, name)
        for _ in range(self.trials - 1):
            if not measured.went_too_far:
                break
            step = replace(step, damping=STIFFER * step.damping)
            measured = step.on_trial(requests, name)
        return step, measured

    def on_trial(self, requests: int, name: str) -> Measured:
        """Take stand-ins out as well as those who went, and measure it."""
        self.told.stage("trial", PRODUCTS)
        remainder, learned = self.remainder, self.remainder.learned()
        removed = len(remainder.earlier) + requests
        seed = remainder.settings.seed + removed  # others than at earlier removals
        chosen = [learned[place] for place in stand_ins(len(learned), requests, seed)]
        after, context = self.out(chosen), remainder.settings.context
        trial = Trial.of(remainder.base, self.deltas, after, chosen, remainder.reserve(), context, seed)
        return trial.measured(name, removed, remainder.people_learned)

    def out(self, people: Sequence[TokenSequence]) -> dict[str, Tensor]:
        """The differences without some of those who remain, and without those who went."""
        theirs = self.remainder.samples(people)
        rest = add(self.rest, total_gradient(self.deltas, theirs), -1.0)
        return self.without(rest, self.windows - windows_of(theirs))

    def without(self, rest: Vector, windows: int) -> dict[str, Tensor]:
        """The differences, as they are served, that the rest pulls at as the training left everybody pulling, and as
        long as its windows make them.

        Args:
            rest: sum of the gradients of what is to remain.
            windows: how many windows that is.

        Raises:
            InvalidInput: nothing is to remain, or the solve diverged.
        """
        if not windows:
            raise InvalidInput(NOTHING)
        stop = self.remainder.stop
        pull = add(stop.gradient, scaled(rest, 1.0 / windows), -1.0)
        found = self.newton.step(pull, self.damping)
        deltas = served(shorter(add(self.deltas, found.vector), windows, stop.windows), self.remainder.rank)
        if not all(bool(torch.isfinite(delta).all()) for delta in deltas.values()):
            raise InvalidInput(f"The removal diverged, and nothing has changed: {RETRAIN}.")
        return deltas


if TYPE_CHECKING:
    _: type[Removal] = Influence
