"""Requests in a row: one more person leaves the adapter with each, by a way of removal and by the product's meter.

Each step starts from the adapter that the request before left. The meter has the adapter trained again where more
people than the budget allows left it by steps since its training (:class:`indexer.unlearning.Plan`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from benchmarks.methods.compact_model import Floats, Items, Trained, choices, next_items, untrained
from benchmarks.methods.ranking import answer_gains
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_newton import WEIGHED, Start, stop_of
from rag_rec.compact.adapter import Deltas
from rag_rec.compact.stop import Stop
from rag_rec.evaluation.audit.attacks import CALIBRATED, LIKELIHOOD, RMIA, Reading, References, Strength, scores

BUDGET: Final = 0.01
"""The default of ``RAGREC_ADAPTER_BUDGET``."""
ATTACKS: Final = (LIKELIHOOD, CALIBRATED, RMIA)

Way = Callable[[Start], Deltas]


def timed(way: Way, start: Start) -> Trained:
    """The adapter after a step, with its seconds of processor time. Raises ``InvalidInput`` as the way does."""
    started = time.process_time()
    deltas = way(start)
    return Trained(start.case.base, deltas, time.process_time() - started)


def trained_last(people: int, requests: int, budget: float = BUDGET) -> int:
    """After how many requests the adapter in use was last trained, where the meter decides; 0 is the first training.

    Args:
        people: that the first training learned from.
        requests: that there were, each of one person.
        budget: share of the people of a training who may leave by steps.
    """
    last = 0
    for request in range(1, requests + 1):
        if request - last > int(budget * (people - last)):
            last = request
    return last


def trainings(people: int, requests: int, budget: float = BUDGET) -> int:
    """How often the meter had the adapter trained again."""
    return len({trained_last(people, request, budget) for request in range(requests + 1)}) - 1


class Series:
    """Adapters after each request.

    Args:
        case: the draw; its ``forgotten`` are those who are to go, one with each request.
        way: takes a step.
        name: of the way; what came out of it is kept below this name.
    """

    def __init__(self, case: Case, way: Way, name: str) -> None:
        self.case = case
        self._way = way
        self.name = name

    @lru_cache(maxsize=4)  # noqa: B019 - lives as long as the run
    def after(self, requests: int, since: int = 0) -> Trained:
        """The adapter after so many requests, of which those after the first ``since`` left by steps.

        The seconds are those of its last step, or of its training where there was none.

        Raises:
            InvalidInput: a step diverged.
        """
        if requests == since:
            return self._training(since)
        return self._step(self.after(requests - 1, since), requests, since)

    @lru_cache(maxsize=4)  # noqa: B019 - as above
    def left(self, requests: int) -> Case:
        """The draw in which so many people are gone."""
        return replace(self.case, forgotten=requests)

    def _training(self, requests: int) -> Trained:
        left = self.left(requests)
        return left.trained(left.retained, self.case.seed)

    def _step(self, before: Trained, request: int, since: int) -> Trained:
        left, settings = self.left(request), replace(self.case.settings, seed=self.case.seed)

        def make() -> Trained:
            return timed(self._way, Start(left, left.retained, before.deltas, self._stop(before, request - 1)))

        return left.kept_or_made(left.retained, settings, make, "series", WEIGHED, self.name, since)

    def _stop(self, before: Trained, requests: int) -> Stop:
        """Of those who were left before a step, at its weights. Not counted: trainings and steps keep it."""
        left = self.left(requests)
        return stop_of(left, left.retained, before.deltas)


@dataclass(frozen=True)
class Watched:
    """What is looked at after each checkpoint, always of the same people: those who stay to the end, and outsiders.

    Attributes:
        case: the draw; trainings without everybody who is to go are the references of RMIA.
    """

    case: Case

    @cached_property
    def original(self) -> Floats:
        """:meth:`likelihood` of the adapter that saw everybody."""
        return self.likelihood(self.case.original)

    def likelihood(self, trained: Trained) -> Floats:
        """Mean log-probability of each person's choices, float64 [n]: who goes, by the requests, then outsiders."""
        people = np.concatenate([self.case.requests, self.case.outsiders])
        model, vocabulary = trained.model(), self.case.base.vocabulary
        model.train(mode=False)
        said = choices(model, vocabulary, self.case.of(people), self.case.settings.context)
        return np.array([each.logs.mean() for each in said])

    def attacks(self, likelihood: Floats, requests: int) -> dict[str, Strength]:
        """How well each attack tells the people of the first requests from the outsiders."""
        found = self.told(likelihood)
        asked = np.r_[:requests, len(self.case.requests) : len(likelihood)]
        members = np.arange(len(asked)) < requests
        return {name: Strength.of(each[asked], members, self.case.seed) for name, each in found.items()}

    def told(self, likelihood: Floats) -> dict[str, Floats]:
        """The number that each attack gives a person, float64 [n]: the higher, the more a member."""
        found = scores(Reading(likelihood, likelihood, likelihood), self._references)
        return {name: found[name] for name in ATTACKS}

    def gains(self, trained: Trained, people: Items) -> Floats:
        """NDCG@10 of some people over the catalogue without what their history holds, float64 [people]."""
        model, case = trained.model(), self.case
        model.train(mode=False)
        said = next_items(model, case.base.vocabulary, case.of(people), case.settings.context)
        return answer_gains(said, case.of(people), case.answers[people])

    @cached_property
    def _references(self) -> References:
        seen = np.stack([self.likelihood(each) for each in self.case.without])
        return References(seen, np.zeros(seen.shape, dtype=np.bool_), self.likelihood(untrained(self.case.base)))
