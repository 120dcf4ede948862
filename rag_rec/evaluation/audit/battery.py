"""The audit of one set of people: every figure of a result, held against those of retrainings without the people.

The battery reads arrays alone, so that it audits any model. It is tested in every run: a retraining that is kept out
has to pass, and what was there before the removal has to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.evaluation.audit.attacks import RMIA, Reading, References, Strength, scores
from rag_rec.evaluation.audit.distance import Nearer, maximum_mean_discrepancy, mean_distances, overlaps
from rag_rec.evaluation.audit.verdict import Verdict, judge
from rag_rec.evaluation.membership import Floats, auc

FORGOTTEN, RETAINED, OUTSIDERS = "forgotten", "retained", "outsiders"
MOST_ASKED: Final = 400
"""People of a group who are asked for their next item: each answer is a distribution over the catalogue."""
STRATA: Final = ("least remembered", "middle", "most remembered")
"""Thirds of the forgotten, by how much better the original knows them than references that did not see them."""

People = npt.NDArray[np.int64]
"""Places of people among all that are read, ascending."""


@dataclass(frozen=True, slots=True)
class View:
    """What one set of parameters says.

    Attributes:
        reading: of everybody's history.
        asked: log-probability of every item after the history of the people asked, float64 [people, items], by group.
        states: what the head reads there, float64 [people, width], by group.
    """

    reading: Reading
    asked: Mapping[str, Floats]
    states: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Groups:
    """Who is who.

    Attributes:
        forgotten: who is to go.
        retained: who was learned from and stays.
        outsiders: who was never learned from.
    """

    forgotten: People
    retained: People
    outsiders: People

    def asked(self, seed: int) -> dict[str, People]:
        """Those of each group who are asked for their next item, at most :data:`MOST_ASKED`."""
        groups = {FORGOTTEN: self.forgotten, RETAINED: self.retained, OUTSIDERS: self.outsiders}
        return {name: _some(people, seed) for name, people in groups.items()}


class Battery:
    """Holds results against retrainings, of which the last is kept out of the bands.

    Args:
        groups: who is who.
        original: what was there before the removal.
        retrainings: trainings without the forgotten, each with a seed of its own; at least four.
        references: adapters that RMIA compares with, for a view; see :func:`others` for the retrainings themselves.
        seed: of bootstrap and permutations.
    """

    def __init__(
        self,
        groups: Groups,
        original: View,
        retrainings: Sequence[View],
        references: Callable[[View], References],
        seed: int,
    ) -> None:
        self._groups = groups
        self._references = references
        self._seed = seed
        self.original = original
        *self._without, self.kept_out = retrainings
        self._of_retrainings = [self.figures(each) for each in self._without]

    def verdict(self, view: View) -> Verdict:
        """Whether a further retraining could have been like this."""
        return judge(self.figures(view), self._of_retrainings)

    def figures(self, view: View) -> dict[str, float]:
        """The figures that the verdict is about; a retraining is held against the other ones."""
        others = [each for each in self._without if each is not view]
        likely, groups = view.reading.likelihood, self._groups
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
            "likelihood, forgotten less outsiders": float(
                likely[groups.forgotten].mean() - likely[groups.outsiders].mean()
            ),
            "likelihood, retained": float(likely[groups.retained].mean()),
        }

    def attacks(self, view: View) -> dict[str, Strength]:
        """How well each attack tells the forgotten from the outsiders."""
        people = np.concatenate([self._groups.forgotten, self._groups.outsiders])
        members = np.arange(len(people)) < len(self._groups.forgotten)
        found = scores(view.reading, self._references(view))
        return {name: Strength.of(each[people], members, self._seed) for name, each in found.items()}

    def strata(self, view: View) -> dict[str, float]:
        """AUC of RMIA on each third of the forgotten; on the first there is least to forget: a negative control."""
        found = scores(view.reading, self._references(view))[RMIA]
        return {name: auc(found[people], found[self._groups.outsiders]) for name, people in self._strata().items()}

    def nearer(self, view: View) -> Nearer:
        """Whether what is said to the forgotten is nearer to the retrainings than what the original says."""
        others = [each.asked[FORGOTTEN] for each in self._without]
        result, original = (mean_distances(each.asked[FORGOTTEN], others) for each in (view, self.original))
        return Nearer.of(result, original, self._seed)

    def _strata(self) -> dict[str, People]:
        gone = self._groups.forgotten
        remembered = scores(self.original.reading, self._references(self.original))[RMIA][gone]
        return dict(zip(STRATA, np.array_split(gone[np.argsort(remembered, kind="stable")], len(STRATA)), strict=True))


def others(retrainings: Sequence[View], untrained: Floats) -> Callable[[View], References]:
    """The retrainings as references, each view against those that it is not: they saw neither forgotten nor outsiders.

    Args:
        retrainings: without the forgotten.
        untrained: mean log-probability of each person's choices under parameters learned from no person.
    """

    def references(view: View) -> References:
        likelihood = np.stack([each.reading.likelihood for each in retrainings if each is not view])
        return References(likelihood, np.zeros(likelihood.shape, dtype=np.bool_), untrained)

    return references


def _some(people: People, seed: int) -> People:
    return np.sort(np.random.default_rng([seed, 2]).permutation(people)[:MOST_ASKED])
