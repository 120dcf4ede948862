"""People removed one at a time, each from the adapter that everybody is in, and each with an adapter of its own.

An attack on one person has no interval. So several people are removed, each alone, and every one is held against the
outsiders under the adapter that the person was removed from. The truth are retrainings without all of these people and
more: they did not see the person either, and what a few others do to one person's likelihood is within their seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.methods.compact_model import Floats, Items, Trained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_newton import WEIGHED, Start
from benchmarks.methods.unlearning_series import Watched, Way, timed
from rag_rec.compact.stop import Stop
from rag_rec.evaluation.audit.attacks import FALSE_ALARMS
from rag_rec.evaluation.audit.battery import MOST_ASKED
from rag_rec.evaluation.bootstrap import interval


@dataclass(frozen=True)
class Told:
    """What is said of one person who was removed, and to others.

    Attributes:
        below: the share of outsiders whom each attack puts below the person; one half tells nothing.
        found: whether each attack finds the person at one false alarm in a hundred.
        likelihood: the mean log-probability of the person's choices, in nats.
        gains: NDCG@10 of those asked of each group, float64 [people].
    """

    below: Mapping[str, float]
    found: Mapping[str, bool]
    likelihood: float
    gains: Mapping[str, Floats]


class Alone:
    """The first people of a draw's requests, each removed alone.

    Args:
        case: the draw; of its retrainings the last one is kept out of RMIA's references.
        people: how many are removed, at most all who are forgotten in the draw.
        stop: of everybody who was in the original.
    """

    def __init__(self, case: Case, people: int, stop: Stop) -> None:
        self.case = case
        self.requests: Items = case.requests[:people]
        self._stop = stop
        self._watched = Watched(replace(case, retrainings=case.retrainings - 1))

    def removed(self, way: Way, name: str) -> list[Trained]:
        """An adapter for each person, from which that person alone was removed. Raises ``InvalidInput`` as the way."""
        return [self._removed(way, name, person) for person in self.requests.tolist()]

    def told(self, adapters: Sequence[Trained]) -> list[Told]:
        """What the adapter of each person says of that person."""
        read: dict[int, tuple[Floats, dict[str, Floats]]] = {}
        for made in adapters:
            if id(made) not in read:  # the same adapter may be that of everybody
                read[id(made)] = self._read(made)
        return [self._told(*read[id(made)], place) for place, made in enumerate(adapters)]

    def row(self, told: Sequence[Told]) -> dict[str, Any]:
        """Means over the people, with 95 % intervals, beside what the retrainings say of the same people."""
        row: dict[str, Any] = {}
        for name in told[0].below:
            below = np.array([each.below[name] for each in told])
            row |= {f"auc, {name}": float(below.mean()), f"auc, {name}, interval": self._interval(below)}
            row |= {f"found at 1 % false alarms, {name}": float(np.mean([each.found[name] for each in told]))}
        lost = self._likely - [each.likelihood for each in told]
        row |= {"nats lost": float(lost.mean()), "nats lost, interval": self._interval(lost)}
        row |= {"nats lost by retrainings": float(self._lost.mean())}
        row |= {"correlation with retrainings": float(np.corrcoef(lost, self._lost)[0, 1])} if lost.any() else {}
        for group in self._asked:
            gains = np.mean([each.gains[group] for each in told], axis=0)
            row |= {f"ndcg@10 {group}": float(gains.mean()), f"ndcg@10 {group}, interval": self._interval(gains)}
        return row

    def _removed(self, way: Way, name: str, person: int) -> Trained:
        case, deltas = self.case, self.case.original.deltas
        people = np.setdiff1d(case.members, [person])
        settings = replace(case.settings, seed=case.seed)
        start = Start(case, people, deltas, self._stop)
        return case.kept_or_made(people, settings, lambda: timed(way, start), "step", WEIGHED, "alone", name)

    def _read(self, made: Trained) -> tuple[Floats, dict[str, Floats]]:
        """The likelihood of everybody who is watched, and the gains of those asked of each group."""
        gains = {group: self._watched.gains(made, people) for group, people in self._asked.items()}
        return self._watched.likelihood(made), gains

    def _told(self, likelihood: Floats, gains: dict[str, Floats], place: int) -> Told:
        told, known = self._watched.told(likelihood), len(self.case.requests)
        outside = {name: each[known:] for name, each in told.items()}
        limits = {name: np.quantile(each, 1.0 - FALSE_ALARMS, method="higher") for name, each in outside.items()}
        return Told(
            {name: float((outside[name] < each[place]).mean()) for name, each in told.items()},
            {name: bool(each[place] > limits[name]) for name, each in told.items()},
            float(likelihood[place]),
            gains,
        )

    @cached_property
    def _asked(self) -> dict[str, Items]:
        draws = np.random.default_rng([self.case.seed, 4])
        groups = {"retained": self.case.retained, "outsiders": self.case.outsiders}
        return {name: np.sort(draws.permutation(people)[:MOST_ASKED]) for name, people in groups.items()}

    @cached_property
    def _likely(self) -> Floats:
        """The likelihood of the people under the original, float64 [people]."""
        return self._watched.original[: len(self.requests)]

    @cached_property
    def _lost(self) -> Floats:
        """How much less likely the people are under the retrainings that are not kept out, float64 [people]."""
        seen = [self._watched.likelihood(each)[: len(self.requests)] for each in self.case.without[:-1]]
        return np.asarray(self._likely - np.mean(seen, axis=0))

    def _interval(self, values: Floats) -> list[float]:
        return list(interval(values, self.case.seed))
