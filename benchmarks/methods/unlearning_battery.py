"""The audit of one draw: what adapters say of its people, and the figures that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from benchmarks.methods.compact_model import Floats, Items, Trained, after, choices, untrained
from benchmarks.methods.unlearning_case import Case
from rag_rec.evaluation.audit.attacks import RMIA, Reading, References, Strength, lowest_mean, scores
from rag_rec.evaluation.audit.distance import Nearer, maximum_mean_discrepancy, mean_distances, overlaps
from rag_rec.evaluation.audit.verdict import Verdict, judge
from rag_rec.evaluation.membership import auc
from rag_rec.evaluation.ranking import gains

MOST_ASKED: Final = 400
"""People of a group who are asked for their next item: each answer is a distribution over the catalogue."""
FORGOTTEN, RETAINED, OUTSIDERS = "forgotten", "retained", "outsiders"
STRATA: Final = ("least remembered", "middle", "most remembered")
"""Thirds of the forgotten, by how much better the original knows them than references that did not see them."""


@dataclass(frozen=True)
class View:
    """What one adapter says.

    Attributes:
        reading: of everybody's history.
        asked: log-probability of every item after the history of the people asked, float64 [people, items], by group.
        states: what the head reads there, float64 [people, width], by group.
    """

    reading: Reading
    asked: Mapping[str, Floats]
    states: Mapping[str, Floats]


class Battery:
    """Holds a result against the retrainings of a case. The last one is kept out of the bands: it has to pass."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.groups: Mapping[str, Items] = {
            FORGOTTEN: _some(case.gone, case.seed),
            RETAINED: _some(case.retained, case.seed),
            OUTSIDERS: _some(case.outsiders, case.seed),
        }
        self.original = self.view(case.original)
        *self.without, self.kept_out = (self.view(each) for each in case.without)

    def view(self, *trained: Trained) -> View:
        """What an adapter says; of several, the mean of the probabilities that each gives, and of the states."""
        found = [self._said(each) for each in trained]
        mixed = [_mixture(each) for each in zip(*(choices for choices, _, _ in found), strict=True)]
        return View(
            Reading(np.array([each.mean() for each in mixed]), lowest_mean(mixed)),
            {name: _mixture([asked[name] for _, asked, _ in found]) for name in self.groups},
            {name: np.mean([states[name] for _, _, states in found], axis=0) for name in self.groups},
        )

    def verdict(self, view: View) -> Verdict:
        """Whether a further retraining could have been like this."""
        return judge(self.figures(view), self._of_retrainings)

    def figures(self, view: View) -> dict[str, float]:
        """The figures that the verdict is about; a retraining is held against the other ones."""
        others = [each for each in self.without if each is not view]
        likely, case = view.reading.likelihood, self.case
        apart = {
            f"divergence, {name}": float(mean_distances(asked, [each.asked[name] for each in others]).mean())
            for name, asked in view.asked.items()
        }
        alike = [overlaps(view.asked[RETAINED], each.asked[RETAINED]).mean() for each in others]
        return {
            **{f"attack, {name}": strength.auc for name, strength in self.attacks(view).items()},
            **apart,
            "overlap of lists, retained": float(np.mean(alike)),
            "kernels, forgotten against outsiders": maximum_mean_discrepancy(
                view.states[FORGOTTEN], view.states[OUTSIDERS]
            ),
            "likelihood, forgotten less outsiders": float(likely[case.gone].mean() - likely[case.outsiders].mean()),
            "likelihood, retained": float(likely[case.retained].mean()),
        }

    def attacks(self, view: View) -> dict[str, Strength]:
        """How well each attack tells the forgotten from the outsiders."""
        people = np.concatenate([self.case.gone, self.case.outsiders])
        members = np.arange(len(people)) < len(self.case.gone)
        found = scores(view.reading, self._references)
        return {name: Strength.of(each[people], members, self.case.seed) for name, each in found.items()}

    def strata(self, view: View) -> dict[str, float]:
        """AUC of RMIA on each third of the forgotten; on the first there is least to forget: a negative control."""
        found = scores(view.reading, self._references)[RMIA]
        return {name: auc(found[people], found[self.case.outsiders]) for name, people in self._strata.items()}

    def nearer(self, view: View) -> Nearer:
        """Whether what is said to the forgotten is nearer to the retrainings than what the original says."""
        others = [each.asked[FORGOTTEN] for each in self.without]
        result, original = (mean_distances(each.asked[FORGOTTEN], others) for each in (view, self.original))
        return Nearer.of(result, original, self.case.seed)

    def gains(self, view: View, group: str) -> Floats:
        """NDCG@10 of each person asked, over the whole catalogue without what the history holds, float64 [people]."""
        people, rest = self.groups[group], view.asked[group].copy()
        for row, items in zip(rest, self.case.of(people), strict=True):
            row[items] = -np.inf
        reached = np.take_along_axis(rest, self.case.answers[people][:, None], axis=1)
        return gains((rest > reached).sum(axis=1))

    def _said(self, trained: Trained) -> tuple[list[Floats], dict[str, Floats], dict[str, Floats]]:
        """Of everybody's choices, and of the next item and the states there of the people asked."""
        model, vocabulary, context = trained.model(), trained.base.vocabulary, self.case.settings.context
        model.train(mode=False)
        known = {name: self.case.of(people) for name, people in self.groups.items()}
        said = {name: after(model, vocabulary, histories, context) for name, histories in known.items()}
        asked, states = ({name: each[place] for name, each in said.items()} for place in (0, 1))
        return choices(model, vocabulary, self.case.histories, context), asked, states

    @cached_property
    def _of_retrainings(self) -> Sequence[Mapping[str, float]]:
        return [self.figures(each) for each in self.without]

    @cached_property
    def _strata(self) -> Mapping[str, Items]:
        gone = self.case.gone
        remembered = scores(self.original.reading, self._references)[RMIA][gone]
        return dict(zip(STRATA, np.array_split(gone[np.argsort(remembered, kind="stable")], len(STRATA)), strict=True))

    @cached_property
    def _references(self) -> References:
        case = self.case
        readings = [self.view(each).reading.likelihood for each in (*case.references, untrained(case.base))]
        saw = np.stack([np.isin(np.arange(len(case.histories)), people) for people in case.drawn])
        return References(np.stack(readings[:-1]), saw, readings[-1])


def _some(people: Items, seed: int) -> Items:
    return np.sort(np.random.default_rng([seed, 2]).permutation(people)[:MOST_ASKED])


def _mixture(logs: Sequence[Floats]) -> Floats:
    """The logarithm of the mean of several probabilities."""
    return np.asarray(np.logaddexp.reduce(logs, axis=0) - np.log(len(logs)))
