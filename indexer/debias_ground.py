"""What a debiasing stands on: what the gate asked, what the adapter learned, and the order that is served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from indexer.compact_build import CompactBuilder
from indexer.fairness import order_of
from indexer.gate import Asked, GateMeasurement
from indexer.generator_commands import sample_of
from indexer.learned import Learned
from rag_rec.compact.adapter import served
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.stop import FEW, drawn_of, owners_of, usual_damping, windows_of
from rag_rec.debias.linear import Linear
from rag_rec.debias.mask import Flags
from rag_rec.debias.order import FusedOrder, Wanted
from rag_rec.debias.questions import NO_LABEL, Questions
from rag_rec.debias.search import Limits, Search
from rag_rec.errors import NotReady
from rag_rec.evaluation.ranking import DEPTH
from rag_rec.fairness.control import Control
from rag_rec.fairness.groups import Numbers
from rag_rec.fairness.served import Floats, Served
from rag_rec.generators.item_tokens import ItemTokenEncoder
from rag_rec.generators.spec import GeneratorSpec, wanted
from rag_rec.index.serving_state import ServingState
from rag_rec.influence.kronecker import PASSES
from rag_rec.influence.newton import PRODUCTS, Newton
from rag_rec.influence.vectors import Vector
from rag_rec.progress.protocol import Progress
from rag_rec.recommend.fusion import Trials, cautious_weight
from rag_rec.recommend.gate import UNGATED_WEIGHT, load_control, load_gate
from rag_rec.recommend.opening import open_generator


@dataclass(frozen=True, slots=True)
class Ground:
    """The present state.

    Attributes:
        live: the state of the system.
        asked: what was said to the people whom the gate asks, by the adapter in use.
        learned: that adapter, and what it learned.
        control: holds groups of items back in the order that is served; None where none is.
        gated: whether the gate chooses the weight of the candidates; where gates are turned off nothing does.
    """

    live: ServingState
    asked: Asked
    learned: Learned
    control: Control | None
    gated: bool = True

    @classmethod
    def read(cls, builder: CompactBuilder, learned: Learned) -> tuple[GeneratorSpec, Self]:
        """What the gate asks for, said by the adapter in use in this process; and by which generator.

        Raises:
            NotReady: there is no compact generator or no index, or too few people can be asked.
            InvalidInput: the adapter was trained on everybody's newest choice.
        """
        here = builder.settings.model_copy(update={"generator": "local", "generator_model": None})
        target = wanted(here)
        if target is None:
            raise NotReady("There is no compact generator yet: run `rag-rec compact build`.")
        builder.progress.stage("load the index", 0)
        live = ServingState.load(builder.generations.current(), builder.store, here, builder.embedder)
        with closing(open_generator(here, target)) as model:
            model.backend.use_adapter(target.adapter)
            measurement = GateMeasurement(live, builder.store, here, model, builder.progress)
            asked = measurement.ask(sample_of(here, target, builder.store))
        control = load_control(here, load_gate(here, target))
        return target, cls(live, asked, learned, control, here.generator_gate)

    def halves(self, seed: int) -> tuple[Numbers, Numbers]:
        """The people to search on, and those to decide on: their places, ascending."""
        people = len(self.asked.questions)
        mixed = np.random.default_rng([seed, people]).permutation(people)
        return np.sort(mixed[: people // 2]), np.sort(mixed[people // 2 :])

    def questions(self, rows: Numbers) -> Questions:
        """What some of the people are asked, as the service writes it."""
        encoder = ItemTokenEncoder(self.learned.base.vocabulary)
        prompts = [self.asked.prompts[row] for row in rows.tolist()]
        written = [encoder.encode(prompt, range(len(prompt.candidates))) for prompt in prompts]
        labels = np.full((len(rows), self.asked.items.shape[1]), NO_LABEL)
        for row, each in zip(labels, written, strict=True):
            row[: len(each.labels)] = [NO_LABEL if label is None else label for label in each.labels]
        tokens = [each.tokens for each in written]
        scores = self.asked.trials.candidates[rows]
        return Questions.of(self.learned.base, self.learned.known, tokens, labels, scores)

    def trials(self, opinions: Tensor) -> Trials:
        """The gate's trials with other opinions of the LLM, float [people, n]."""
        given = opinions.double().numpy()
        return Trials(self.asked.trials.candidates, given, self.asked.trials.answers)

    def fused(self, weight: float) -> FusedOrder:
        """The order of everybody asked as it is served with a weight of the candidates."""
        groupings = () if self.control is None else self.control.groupings
        order = order_of(self.live, self.asked, self.asked.trials.candidates, DEPTH, groupings)
        held: Floats = np.zeros(order.scores.shape)
        for of, strengths in zip(order.groups, self.control.held(fused=True) if self.control else [], strict=True):
            held += np.append(strengths, 0.0)[of]
        return FusedOrder(order, weight, held)

    def weight(self, opinions: Tensor, rows: Numbers) -> float:
        """The weight of the candidates by some of the people, so that the others can be judged by it."""
        return cautious_weight(self.trials(opinions).part(rows)) if self.gated else UNGATED_WEIGHT

    def lists(self, opinions: Tensor, chosen_on: Numbers, rows: Numbers) -> Served:
        """The lists of some of the people, with a weight that was chosen on others."""
        return self.fused(self.weight(opinions, chosen_on)).taken(rows).served(opinions[rows])

    def by_llm(self) -> FusedOrder:
        """The order of everybody asked by the LLM alone."""
        order = order_of(self.live, self.asked, self.asked.trials.candidates, DEPTH)
        return FusedOrder(order, 0.0, np.zeros(order.scores.shape))

    def alone(self, opinions: Tensor, rows: Numbers) -> Served:
        """The lists of some of the people by the LLM alone."""
        return self.by_llm().taken(rows).served(opinions[rows])

    def search(self, aim: Wanted, limits: Limits, rows: Numbers, opinions: Tensor, protected: Flags) -> Search:
        """A search on some of the people.

        Args:
            aim: what is to be made fairer.
            limits: how far it may go.
            rows: the people to search on.
            opinions: of the adapter in use about everybody, for the weight of the candidates.
            protected: whose choices may not go, bool [people who were learned from].
        """
        owners = owners_of(self.learned.learned(), self.learned.settings)
        return Search(
            self.questions(rows),
            self.fused(self.weight(opinions, rows)).taken(rows),
            self.by_llm().taken(rows),
            aim,
            owners,
            protected[owners],
            limits,
            lambda deltas: served(deltas, self.learned.rank),
        )

    def linear(self, people: Sequence[TokenSequence], told: Progress) -> Callable[[Vector], Linear]:
        """The solves at any differences, with the curvature at those of the adapter in use.

        Raises:
            InvalidInput: nothing is left of what was learned, or a softmax over part of the catalogue was learned.
        """
        samples, small = self.learned.samples(people), self.learned.samples(people, FEW)
        drawn, windows = drawn_of(samples, small), windows_of(samples)
        told.stage("curvature", PASSES * len(drawn.small))
        newton = Newton(self.learned.deltas(), drawn, self.learned.settings.seed, told)
        damping = usual_damping(self.learned.settings, windows)

        def at(deltas: Vector) -> Linear:
            steps = len(samples) + PRODUCTS  # three times: for the figures, for the accuracy, and for what goes
            told.stage("scores", 3 * steps)
            return Linear(deltas, samples, newton, damping, told)

        return at
