"""Debiases the adapter in use without a training: what makes the served lists unfair is removed from what it learned.

The people whom the gate asks are divided: on one half it is searched (:mod:`rag_rec.debias.search`), on the other it is
decided (:mod:`rag_rec.debias.verdict`), by the lists that would be served. Only then a new adapter is published, with
its gate; the one before stays on disk, so that it can be put to use again. Those whose choices were masked stay in the
lineage: they are not forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from indexer.compact_build import CompactBuilder, alone
from indexer.debias_ground import Ground
from indexer.fair_gate import FairGate
from indexer.fairness import world_of
from indexer.learned import Learned
from indexer.trainer import KEPT
from rag_rec.adapters.publishing import Publisher, saw_forgotten
from rag_rec.compact.adapter import Deltas
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.stop import Stop, read_stop, windows_of
from rag_rec.debias.masked import attributes_named, masked_counts, profiles, protected
from rag_rec.debias.order import Wanted
from rag_rec.debias.search import Found, Limits
from rag_rec.debias.verdict import Verdict
from rag_rec.engine.tending import occupied
from rag_rec.errors import InvalidInput
from rag_rec.fairness.groups import Numbers, head
from rag_rec.fairness.judgement import judgement
from rag_rec.fairness.metric import Metric
from rag_rec.fairness.named import named
from rag_rec.generators.spec import GeneratorSpec
from rag_rec.recommend.fusion import fit_gate
from rag_rec.recommend.gate import Gate, gate_path, helps


@dataclass(frozen=True, slots=True)
class Request:
    """What a debiasing is asked for.

    Attributes:
        figures: names of figures of fairness.
        weights: how much each counts.
        limits: how far it may go.
        protect: attributes and values of people whose choices may not go.
    """

    figures: Sequence[str]
    weights: Sequence[float]
    limits: Limits
    protect: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Debiasing:
    """Debiases the system of a builder, whose settings are those of the adapter in use."""

    builder: CompactBuilder
    request: Request

    def run(self, *, publish: bool = True) -> dict[str, Any]:
        """Search, decide, and publish where nothing speaks against it; what was measured, without a person.

        Raises:
            InvalidInput: there is no adapter, it saw a forgotten person, or the LLM takes no part; there is no figure
                of a name, its groups cannot be compared, or everything is fair; or a solve diverged.
            NotReady: there is no index, or too few people can be asked.
            Busy: another process works on the adapter, or a person was forgotten meanwhile.
        """
        builder, started = self.builder, time.perf_counter()
        with alone(builder.compact), occupied(builder.settings, builder.store) as place:
            builder.progress.stage("read people", 0)
            learned = Learned.in_use(builder)
            if saw_forgotten(builder.store, builder.compact, learned.adapter.digest):
                raise InvalidInput("A forgotten person is in the adapter: run `rag-rec adapter unlearn` first.")
            target, ground = Ground.read(builder, learned)
            world = world_of(ground.live, ground.asked)
            figures = [named(name, world) for name in self.request.figures]
            document, found, gate = self._found(ground, figures, target)
            if publish and not document["against"]:
                document["adapter"] = self._published(builder.publisher(place), learned, found, gate)
        return document | {"seconds": round(time.perf_counter() - started, 1)}

    def _found(
        self, ground: Ground, figures: Sequence[Metric], target: GeneratorSpec
    ) -> tuple[dict[str, Any], Found, Gate]:
        """What was found and decided, and the gate of what was found."""
        learned, seed = ground.learned, self.builder.settings.seed
        gate = fit_gate(ground.asked.trials, seed, target.digest)
        if ground.gated and not helps(gate.gain):
            raise InvalidInput(f"The LLM takes no part, so that no list would change. The gate is {gate.words}.")
        people, everybody = learned.learned(), np.arange(len(ground.asked.questions))
        search_on, judge = ground.halves(seed)
        whole = ground.questions(everybody)
        before = whole.opinions(learned.deltas())
        barred = protected(self._profiles(learned), self.request.protect)
        search = ground.search(Wanted(figures, self.request.weights), self.request.limits, search_on, before, barred)
        found = search.run(ground.linear(people, self.builder.progress), learned.deltas())
        after = whole.opinions(found.deltas)
        old, new = (ground.lists(opinions, search_on, judge) for opinions in (before, after))
        verdict = Verdict.of(judgement(figures, old, new, seed), found.predicted, self.request.limits.budget)
        gate = self._gate(ground, after, target)
        against = list(verdict.against)
        if ground.gated and not gate.use:
            against.append(f"the LLM would take no part: the gate is {gate.words}")
        old_alone, new_alone = (ground.alone(opinions, judge) for opinions in (before, after))
        document = {
            "adapter_before": learned.adapter.digest,
            "adapter": None,
            "against": against,
            "people": {"searched on": len(search_on), "judged on": len(judge)},
            "budget": self.request.limits.budget,
            "served": verdict.judged,
            "llm": judgement(figures, old_alone, new_alone, seed),
            "predicted": {name: round(value, 6) for name, value in found.predicted.items()},
            "masked": self._masked(ground, people, search.person, found),
            "rounds": [asdict(each) for each in found.rounds],
            "gate": dict(gate.document()),
        }
        return document, found, gate

    def _gate(self, ground: Ground, opinions: Tensor, target: GeneratorSpec) -> Gate:
        """As `rag-rec generator gate` would measure it."""
        builder, asked = self.builder, replace(ground.asked, trials=ground.trials(opinions))
        gate = fit_gate(asked.trials, builder.settings.seed, target.digest)
        return FairGate(ground.live, asked, builder.settings, builder.progress).of(gate)

    def _masked(
        self, ground: Ground, people: Sequence[TokenSequence], owners: Numbers, found: Found
    ) -> Mapping[str, Any]:
        learned, first = ground.learned, ground.learned.base.vocabulary.first_item
        items = np.concatenate([batch.targets.numpy() for batch in learned.samples(people)]) - first
        popularity = ground.live.statistics.popularity.total
        names = attributes_named(self.request.figures)
        return masked_counts(found.rows, owners, items, head(popularity), self._profiles(learned), names)

    def _profiles(self, learned: Learned) -> list[Any]:
        return profiles([number for number, _ in learned.people.positives], learned.people.users)

    def _published(self, publisher: Publisher, learned: Learned, found: Found, gate: Gate) -> str:
        """Publish the adapter with its gate, and put it to use."""
        builder, stop = self.builder, self._stop(publisher, learned, found.deltas)
        about = {"figures": list(self.request.figures), "masked": int(found.rows.sum()), "of": learned.adapter.digest}
        with publisher.writing(learned.people.epoch):
            made = learned.publish(publisher, found.deltas, stop, learned.earlier, {"debiased": about})
            replace(gate, adapter=made.digest).save(gate_path(builder.settings.gates, str(gate.model), made.digest))
            learned.put_to_use(publisher, made, learned.earlier)
        return made.digest

    def _stop(self, publisher: Publisher, learned: Learned, deltas: Deltas) -> Stop | None:
        """What later removals by influence need, where the adapter in use keeps it."""
        if read_stop(learned.adapter.folder) is None:
            return None
        people = learned.learned()
        sums, samples = learned.sums(publisher, self.builder.progress), learned.samples(people)
        stop = Stop.summed(sums.total(KEPT, deltas, people, samples), windows_of(samples))
        sums.clear()
        return stop
