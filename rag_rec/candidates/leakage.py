"""What the reranker remembers of the people it was fitted on: membership inference against people kept out of the fit.

A share of the people is kept out, by a hash of their ids. Their interactions are counted in the statistics like
anybody's, so that they differ from the others in nothing but the reranker's numbers. The attack knows the reranker, the
statistics and a person's choices, and asks how likely the reranker finds these choices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from rag_rec.candidates.fitting import Choices
from rag_rec.candidates.reranker import Reranker
from rag_rec.evaluation.held_out import is_held_out
from rag_rec.evaluation.membership import LEAST_PEOPLE, Membership

WANTED: Final = 500
"""People to keep out where there are enough: an AUC near .5 is then known to about .027 each way."""
MOST_SHARE: Final = 0.2
"""Largest share to keep out. The reranker learns from so many fewer examples; ``docs/design.md`` says what that
costs."""
MOST_ATTACKED: Final = 1500
"""Members who are attacked: more would hardly narrow an interval that the people kept out determine."""
MARGIN: Final = 1.2
"""So many times the least number of people have to be expected outside, or no one is kept out."""


@dataclass(frozen=True)
class HeldOutPeople:
    """The people from whose choices the reranker does not learn.

    Attributes:
        share: of the people; 0 keeps no one out.
        numbers: user number by position among the people.
        user_id: the caller's id of a user number.
        seed: of the sample.
    """

    share: float
    numbers: Sequence[int]
    user_id: Callable[[int], str]
    seed: int

    @classmethod
    def choose(
        cls, asked: int, numbers: Sequence[int], user_id: Callable[[int], str] | None, seed: int
    ) -> HeldOutPeople:
        """As many as give a narrow interval, and no more than the reranker can do without.

        Args:
            asked: about how many people choices are collected of.
            numbers: user number by position.
            user_id: None where nothing is to be measured.
            seed: of the sample.
        """
        share = min(MOST_SHARE, WANTED / max(1, asked))
        enough = user_id is not None and share * asked >= MARGIN * LEAST_PEOPLE
        return cls(share if enough else 0.0, numbers, user_id or str, seed)

    @cached_property
    def _known(self) -> dict[int, bool]:
        return {}

    def holds(self, position: int) -> bool:
        """Whether the person at a position is kept out."""
        if not self.share:
            return False
        if position not in self._known:
            self._known[position] = is_held_out(
                self.user_id(self.numbers[position]), self.share, self.seed, purpose="reader"
            )
        return self._known[position]

    def learned(self, choices: Choices) -> npt.NDArray[np.bool_]:
        """Which choices the reranker learns from, bool [choices]."""
        return np.array([not self.holds(person) for person in choices.people.tolist()], dtype=np.bool_)

    def attack(self, reranker: Reranker, choices: Choices) -> Membership:
        """What an attack on a fitted reranker tells of the people behind the choices.

        Args:
            reranker: fitted on the choices of everybody who is not kept out.
            choices: of members and of people kept out.
        """
        members = self.learned(choices)
        people, outside = (np.unique(choices.people[rows]) for rows in (members, ~members))
        if min(len(people), len(outside)) < LEAST_PEOPLE:
            return Membership(len(people), len(outside))
        drawn = np.random.default_rng(self.seed).permutation(people)[:MOST_ATTACKED]
        asked = choices.part(np.isin(choices.people, np.concatenate([drawn, outside])))
        everybody, likely = _by_person(asked, _log_likelihoods(reranker, asked))
        _, usual = _by_person(asked, _log_likelihoods(Reranker.default(), asked))
        return Membership.measure(likely, usual, ~np.isin(everybody, outside), self.seed)


def _log_likelihoods(reranker: Reranker, choices: Choices) -> npt.NDArray[np.float64]:
    """Log-probability of what was chosen among the candidates, float64 [choices]."""
    return np.array(
        [
            log_softmax(np.where(valid, reranker.fine_scores(features.astype(np.float64)), -np.inf))[chosen]
            for features, valid, chosen in zip(choices.features, choices.valid, choices.chosen, strict=True)
        ]
    )


def _by_person(
    choices: Choices, values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The people, in order, and the mean of the values of each one's choices."""
    people, places, counts = np.unique(choices.people, return_inverse=True, return_counts=True)
    return people, np.bincount(places, values) / counts
