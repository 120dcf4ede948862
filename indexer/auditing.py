"""The audit of this system's own adapter, for an auditor: what it remembers, and what a removal would leave of people.

People who stay are taken out on trial, as stand-ins for forgotten ones, whose data are gone. Trainings without the
stand-ins tell what a removal has to look like; one of them is kept out and has to pass, and the adapter in use, which
saw the stand-ins, has to fail. Nothing is published. What a finished training came to is a checkpoint until the report
is made, so that an audit that is interrupted goes on; an erasure destroys it, as it does those of a build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from indexer.compact_build import CompactBuilder, alone
from indexer.epochs import Epochs
from indexer.influencing import Influence, Step
from indexer.remainder import Remainder
from indexer.trial import require_reserve, stand_ins
from rag_rec.adapters.checkpoint import Checkpoints
from rag_rec.adapters.publishing import Publisher, forgotten_since
from rag_rec.compact.adapter import Deltas, merged, served
from rag_rec.compact.base import Base
from rag_rec.compact.reading import Floats, after, choices
from rag_rec.compact.sequences import TokenSequence, Windows
from rag_rec.compact.shards import digest_of
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.compact.vocabulary import PAD
from rag_rec.engine.tending import occupied
from rag_rec.errors import Busy, InvalidInput
from rag_rec.evaluation.audit.attacks import Reading
from rag_rec.evaluation.audit.battery import Battery, Groups, View, others
from rag_rec.evaluation.audit.verdict import LEAST_RETRAINS

FORMAT: Final = 1
LEAST_TRAININGS: Final = LEAST_RETRAINS + 1
"""One is kept out of the bands."""


@dataclass(frozen=True, slots=True)
class AdapterAudit:
    """An audit to be made.

    Attributes:
        builder: of the system, with the settings of the adapter in use.
        trainings: how many are made without the stand-ins.
        people: how many stand-ins there are; 0 for as many as a removal takes.
        damping: of the removal that is tried; None for the usual one.
    """

    builder: CompactBuilder
    trainings: int
    people: int
    damping: float | None = None

    def report(self) -> dict[str, Any]:
        """What an auditor is told: figures, bands and verdicts.

        Raises:
            InvalidInput: there are too few trainings, people or outsiders, or the adapter keeps no gradient or is
                made of shards.
            Busy: a person was forgotten meanwhile, whom the report would speak of.
        """
        if self.trainings < LEAST_TRAININGS:
            raise InvalidInput(f"{self.trainings} trainings are too few: make at least {LEAST_TRAININGS}.")
        if self.builder.how.adapter.shards > 1:
            raise InvalidInput(
                "The adapter in use is made of shards, and the trainings that an audit compares it with are not: build "
                "one with `--shards 1` to audit it."
            )
        builder = self.builder
        with alone(builder.compact, "audit"), occupied(builder.settings, builder.store) as place:
            builder.progress.stage("read people", 0)
            remainder = Remainder.read(builder)
            found = self._audited(remainder, builder.publisher(place))
            if forgotten_since(builder.store, remainder.people.epoch):
                raise Busy("A person was forgotten during the audit: run the same command again.")
            Checkpoints(builder.compact.auditing, "").clear()
        return found

    def _audited(self, remainder: Remainder, publisher: Publisher) -> dict[str, Any]:
        learned, reserve, seed = remainder.learned(), remainder.reserve(), remainder.settings.seed
        require_reserve(reserve)
        chosen = stand_ins(len(learned), self.people, seed)
        staying = np.setdiff1d(np.arange(len(learned)), chosen)
        groups = Groups(chosen, staying, len(learned) + np.arange(len(reserve)))
        reader = _Reader(remainder.base, [*learned, *reserve], remainder.settings.context, groups, seed)
        trained = self._trained(remainder, [learned[place] for place in staying], publisher)
        retrained = [reader.view(each) for each in trained]
        self.builder.progress.stage("removal", 0)
        original = reader.view(remainder.deltas())
        battery = Battery(groups, original, retrained, others(retrained[:-1], reader.untrained()), seed)
        step, _ = Step.at(remainder, damping=self.damping).tried(len(chosen), Influence.name)
        removed = step.out([learned[place] for place in chosen])
        views = {"in use": original, "retrained, kept out": battery.kept_out, "influence": reader.view(removed)}
        found = {name: _said(battery, view) for name, view in views.items()}
        return {
            "adapter": remainder.adapter.digest,
            "stand_ins": len(chosen),
            "retained": len(staying),
            "reserve": len(reserve),
            "trainings": self.trainings,
            "sound": found["retrained, kept out"]["passed"] and not found["in use"]["passed"],
            "results": found,
        }

    def _trained(
        self, remainder: Remainder, people: Sequence[TokenSequence], publisher: Publisher
    ) -> Iterator[dict[str, Tensor]]:
        """Trainings without the stand-ins, as the one of the adapter in use was made, each with a seed of its own."""
        seeds = [remainder.settings.seed + number for number in range(1, self.trainings + 1)]
        jobs = [replace(remainder.settings, seed=seed) for seed in seeds]
        about = ["audit", FORMAT, remainder.digest, remainder.known, self.builder.how.device]
        keys = [digest_of([*about, settings.content()], people) for settings in jobs]
        Checkpoints(publisher.adapters.auditing, "").leave(keys)
        epochs = Epochs(publisher, remainder.people.epoch, self.builder.progress)
        for number, (settings, key) in enumerate(zip(jobs, keys, strict=True), 1):
            to = Checkpoints(publisher.adapters.auditing, key)
            part = publisher.taken(to.kept())
            if part is None:
                training = self._begun(remainder, people, settings)
                epochs.finish(training, settings.epochs, to, f"training {number} of {self.trainings}")
                epochs.keep(training, to)
                found: Mapping[str, Tensor] = training.deltas()
            else:
                found = {name: torch.from_numpy(array) for name, array in part.state.arrays.items()}
            yield served(found, remainder.rank)

    def _begun(
        self, remainder: Remainder, people: Sequence[TokenSequence], settings: AdapterSettings
    ) -> AdapterTraining:
        windows = Windows(people, settings.context, settings.batch, PAD, settings.seed)
        model = merged(remainder.base.model, {})
        model.requires_grad_(True)
        return AdapterTraining(model, windows, remainder.known, settings, torch.device(self.builder.how.device))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what adapters say of the same people."""

    base: Base
    people: Sequence[TokenSequence]
    context: int
    groups: Groups
    seed: int

    def view(self, deltas: Deltas) -> View:
        """What an adapter says."""
        model, vocabulary = merged(self.base.model, deltas), self.base.vocabulary
        found = choices(model, vocabulary, self.people, self.context)
        said = {
            name: after(model, vocabulary, [self.people[place] for place in places], self.context)
            for name, places in self.groups.asked(self.seed).items()
        }
        return View(
            Reading.of([each.logs for each in found], [each.gains for each in found]),
            {name: logs for name, (logs, _) in said.items()},
            {name: states for name, (_, states) in said.items()},
        )

    def untrained(self) -> Floats:
        """Mean log-probability of everybody's choices under the base, float64 [people]."""
        return self.view({}).reading.likelihood


def _said(battery: Battery, view: View) -> dict[str, Any]:
    verdict, nearer = battery.verdict(view), battery.nearer(view)
    return {
        "passed": verdict.passed,
        "outside": verdict.failed,
        "attacks": {
            name: {
                "auc": each.auc,
                "interval": list(each.interval),
                "found_at_1_percent_false_alarms": each.found,
                "found_interval": list(each.found_interval),
            }
            for name, each in battery.attacks(view).items()
        },
        "figures": {
            check.name: {
                "figure": round(check.figure, 4),
                "low": round(check.band.low, 4),
                "high": round(check.band.high, 4),
                "deviations": round(check.band.away(check.figure), 2),
            }
            for check in verdict.checks
        },
        "nearer_than_in_use": {"change": round(nearer.change, 5), "p": round(nearer.p, 4)},
        "rmia_by_stratum": {name: round(each, 4) for name, each in battery.strata(view).items()},
    }
