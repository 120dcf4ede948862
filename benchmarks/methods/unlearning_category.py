"""A draw in which people stay, and lose what they chose of one genre: a category that tells something of them.

Each person's genre is drawn among those that hold some of what is known of the person, and at most half. The truth is a
training on the histories without these choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.methods.compact_model import Floats, Items, Trained, choices, next_items, untrained
from benchmarks.methods.unlearning_case import VALIDATION, Case
from rag_rec.evaluation.audit.distance import mean_distances
from rag_rec.evaluation.audit.verdict import Band
from rag_rec.evaluation.bootstrap import interval
from rag_rec.evaluation.membership import auc

LEAST: Final = 2
"""Choices of a genre that a person has to have, to lose them or to be compared with."""
MOST: Final = 0.5
"""Share of a history that a person may lose."""
FIRST_SEED: Final = 700
"""Of the retrainings, above those of other trainings of the draw."""

Mask = npt.NDArray[np.bool_]


def genres_of(texts: Sequence[str]) -> list[frozenset[str]]:
    """The genres behind the year of each title, as the texts of MovieLens have them."""
    return [frozenset(text.rpartition(") ")[2].split(", ")) if ") " in text else frozenset() for text in texts]


@dataclass(frozen=True)
class Category:
    """What a draw's people lose.

    Attributes:
        case: the draw; its ``forgotten`` are those who lose something, its ``retrainings`` are without that.
        genres: of each item.
    """

    case: Case
    genres: Sequence[frozenset[str]]

    @cached_property
    def lost(self) -> dict[int, str]:
        """The genre that a person loses; who has none that would do loses nothing, and is not looked at."""
        draws, found = np.random.default_rng([self.case.seed, 4]), dict[int, str]()
        for person in self.case.gone.tolist():
            able = [genre for genre in self._named if self._can_lose(person, genre)]
            if able:
                found[person] = able[int(draws.integers(len(able)))]
        return found

    @property
    def people(self) -> Items:
        """Who loses something, ascending."""
        return np.array(sorted(self.lost), dtype=np.int64)

    def of_genre(self, person: int, genre: str) -> Mask:
        """Which choices of a person are of it, bool [choices]."""
        return np.array([genre in self.genres[item] for item in self.case.histories[person].tolist()], dtype=np.bool_)

    @cached_property
    def trimmed(self) -> Case:
        """The draw as it is without what is lost; the people and their numbers are the same."""
        histories = list(self.case.benchmark.histories)
        places = {user: place for place, (user, _) in enumerate(histories)}
        for person, genre in self.lost.items():
            place = places[self.case.ids[person]]
            user, history = histories[place]
            gone = np.zeros(len(history), dtype=np.bool_)
            gone[:-VALIDATION] = self.of_genre(person, genre)
            histories[place] = user, history[~gone]
        return replace(self.case, benchmark=replace(self.case.benchmark, histories=histories))

    @cached_property
    def without(self) -> list[Trained]:
        """Trainings without what is lost, each with a seed of its own."""
        first = 1000 * (self.case.seed + 1) + FIRST_SEED
        return [self.trimmed.trained(self.case.members, first + number) for number in range(self.case.retrainings)]

    @cached_property
    def _named(self) -> list[str]:
        return sorted(set().union(*self.genres))

    def _can_lose(self, person: int, genre: str) -> bool:
        """The person is still asked without it."""
        mask = self.of_genre(person, genre)
        rest = len(mask) - int(mask.sum())
        return LEAST <= mask.sum() <= MOST * len(mask) and rest + VALIDATION >= self.case.benchmark.least


@dataclass(frozen=True, slots=True)
class View:
    """What an adapter says of a category.

    Attributes:
        lost: mean log-probability of what each person lost, read in the whole history, float64 [people].
        others: the same of the outsiders' choices of that person's genre: one array for each person.
        kept: mean log-probability of what each person keeps, read without what is lost, float64 [people].
        asked: log-probability of every item after what each person keeps, float64 [people, items].
    """

    lost: Floats
    others: Sequence[Floats]
    kept: Floats
    asked: Floats


class Examination:
    """Holds adapters against the retrainings of a category. The last one is kept out of the band."""

    def __init__(self, category: Category) -> None:
        self.category = category
        self._base = self.view(untrained(category.case.base))
        self._original = self.view(category.case.original)
        self._without = [self.view(each) for each in category.without[:-1]]
        self._band = Band.of([self._apart(each) for each in self._without])

    def view(self, trained: Trained) -> View:
        """What an adapter says."""
        category, model, vocabulary = self.category, trained.model(), trained.base.vocabulary
        model.train(mode=False)
        people, outside, context = category.people, category.case.outsiders, category.case.settings.context
        whole = choices(model, vocabulary, category.case.of(np.concatenate([people, outside])), context)
        said = dict(zip([*people.tolist(), *outside.tolist()], (each.logs for each in whole), strict=True))
        kept = category.trimmed.of(people)
        return View(
            np.array([said[person][category.of_genre(person, genre)].mean() for person, genre in self._lost()]),
            [np.array(list(self._of_others(said, genre))) for _, genre in self._lost()],
            np.array([each.logs.mean() for each in choices(model, vocabulary, kept, context)]),
            next_items(model, vocabulary, kept, context),
        )

    def row(self, view: View) -> dict[str, Any]:
        """The figures, with 95 % intervals over the people who lose something."""
        seed, apart = self.category.case.seed, self._apart(view)
        found: dict[str, Any] = {}
        tried = {
            "auc, lost choices": _told(view.lost, view.others),
            "auc, lost choices, calibrated": _told(view.lost - self._base.lost, self._gains(view)),
            "kept choices, nats more likely": view.kept - self._original.kept,
        }
        for name, each in tried.items():
            found |= {name: float(each.mean()), f"{name}, interval": list(interval(each, seed))}
        return found | {"jsd": apart, "jsd, deviations away": self._band.away(apart)}

    def _apart(self, view: View) -> float:
        """The mean divergence to the retrainings; of one of them, to the others."""
        others = [each.asked for each in self._without if each is not view]
        return float(mean_distances(view.asked, others).mean())

    def _gains(self, view: View) -> list[Floats]:
        return [said - base for said, base in zip(view.others, self._base.others, strict=True)]

    def _lost(self) -> list[tuple[int, str]]:
        return sorted(self.category.lost.items())

    def _of_others(self, said: dict[int, Floats], genre: str) -> Sequence[float]:
        """Means of each outsider who has enough of a genre."""
        masks = {person: self.category.of_genre(person, genre) for person in self.category.case.outsiders.tolist()}
        return [float(said[person][mask].mean()) for person, mask in masks.items() if mask.sum() >= LEAST]


def _told(lost: Floats, others: Sequence[Floats]) -> Floats:
    """For each person, the share of the outsiders whose choices of the genre are less likely; ties count one half."""
    return np.array([auc(lost[place : place + 1], other) for place, other in enumerate(others)])
