"""A trial of a removal: people who stay are taken out of the adapter, and attacked.

See :mod:`rag_rec.adapters.measured`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.adapters.measured import Measured, Range
from rag_rec.compact.adapter import Deltas, merged
from rag_rec.compact.base import Base
from rag_rec.compact.reading import likelihoods
from rag_rec.compact.sequences import TokenSequence
from rag_rec.errors import InvalidInput
from rag_rec.evaluation.bootstrap import interval
from rag_rec.evaluation.membership import CALIBRATED, THRESHOLD, Attack

Floats = npt.NDArray[np.float64]

LEAST, USUAL, MOST = 20, 50, 200
"""How many people are taken out on trial; in the reserve there have to be as many as the least."""
SHARE: Final = 0.1
"""Of the people, the largest that is taken out on trial where fewer than the usual number leave."""


def stand_ins(people: int, requests: int, seed: int) -> npt.NDArray[np.int64]:
    """Places of the people who are taken out on trial, ascending: as many as leave, where so few can be measured.

    Raises:
        InvalidInput: there are too few people.
    """
    if people < 2 * LEAST:
        raise InvalidInput(
            f"{people} people remain in the adapter, and {2 * LEAST} are needed to measure a removal: "
            "run `rag-rec adapter retrain`."
        )
    count = min(MOST, max(requests, LEAST, min(USUAL, int(SHARE * people))), people // 2)
    return np.sort(np.random.default_rng(seed).permutation(people)[:count])


def require_reserve(reserve: Sequence[TokenSequence]) -> None:
    """Refuse a reserve of so few people that nothing can be measured.

    Raises:
        InvalidInput: it has fewer than :data:`LEAST`.
    """
    if len(reserve) < LEAST:
        raise InvalidInput(
            f"The reserve has {len(reserve)} people, and {LEAST} are needed to measure a removal: train one with a "
            "larger `--reserve`, or run `rag-rec adapter retrain`."
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """What three models say of stand-ins and of the reserve: mean log-likelihoods in nats, float64 [people].

    Attributes:
        base: that saw no person.
        before: the adapter in use.
        after: the one without the stand-ins.
        members: who is a stand-in.
        seed: of the bootstrap.
    """

    base: Floats
    before: Floats
    after: Floats
    members: npt.NDArray[np.bool_]
    seed: int

    @classmethod
    def of(  # noqa: PLR0913 - two adapters, and two groups of people
        cls,
        base: Base,
        before: Deltas,
        after: Deltas,
        stand_ins: Sequence[TokenSequence],
        reserve: Sequence[TokenSequence],
        context: int,
        seed: int,
    ) -> Trial:
        """Read it.

        Raises:
            InvalidInput: there are too few people in the reserve.
        """
        require_reserve(reserve)
        everybody = [*stand_ins, *reserve]
        said = [
            likelihoods(merged(base.model, deltas), base.vocabulary, everybody, context)
            for deltas in ({}, before, after)
        ]
        return cls(said[0], said[1], said[2], np.arange(len(everybody)) < len(stand_ins), seed)

    def measured(self, method: str, removed: int, learned: int) -> Measured:
        """What the trial says of a way of removal; arguments as the attributes of the result."""
        name, before, after = self.attack()
        stand_ins = int(self.members.sum())
        return Measured(
            method,
            removed,
            learned,
            stand_ins,
            len(self.members) - stand_ins,
            name,
            before,
            after,
            self.gain(self.before),
            self.gain(self.after),
            self.lost(),
        )

    def attack(self) -> tuple[str, Range, Range]:
        """The attack that told more before, and its AUC before and after."""
        ways = {THRESHOLD: np.zeros_like(self.base), CALIBRATED: self.base}
        before = {name: self._auc(self.before - less) for name, less in ways.items()}
        name = max(before, key=lambda each: before[each][0])
        return name, before[name], self._auc(self.after - ways[name])

    def gain(self, said: Floats) -> float:
        """By how many nats the stand-ins' choices are likelier than those of the reserve, each by the gain over the
        base."""
        gained = said - self.base
        return round(float(gained[self.members].mean() - gained[~self.members].mean()), 4)

    def lost(self) -> Range:
        """By how many nats the choices of the reserve became less likely."""
        lost = (self.before - self.after)[~self.members]
        low, high = interval(lost, self.seed)
        return round(float(lost.mean()), 4), round(low, 4), round(high, 4)

    def _auc(self, scores: Floats) -> Range:
        found = Attack.of(scores, self.members, self.seed)
        return found.auc, *found.interval
