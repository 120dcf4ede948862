"""Attacks on one set of parameters: for each person a number, the higher the more the person seems to be a member.

Each is blind to something, so that all are reported. An attack at an AUC of .5 does not prove that nothing is left;
one far above it proves that something is ("SMI", arXiv 2602.01150). They are population attacks: a
reference takes out how ordinary a history is, and does not make them attacks on one person ("Inexact Unlearning Needs
More Careful Evaluations", Hayes et al., arXiv 2403.01218).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.errors import InvalidInput
from rag_rec.evaluation.bootstrap import interval_of
from rag_rec.evaluation.membership import Attack, Floats, Mask

LOWEST: Final = 0.2
"""Share of a person's choices that Min-K looks at: those that were least expected."""
FALSE_ALARMS: Final = 0.01
LIKELIHOOD, CALIBRATED, MIN_K, LISTS, RMIA = "likelihood", "calibrated", "min-k", "lists", "rmia"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one set of parameters says of everybody's choices.

    Attributes:
        likelihood: mean log-probability of each person's choices in nats, float64 [people].
        lowest: the same of the least expected of them, see :func:`lowest_mean`, float64 [people].
        listed: mean NDCG@10 of each person's choices in the lists of the likeliest items, float64 [people].
    """

    likelihood: Floats
    lowest: Floats
    listed: Floats

    @classmethod
    def of(cls, logs: Sequence[Floats], gains: Sequence[Floats]) -> Reading:
        """Of the log-probability and of the NDCG@10 of every choice, float64 [choices] of each person."""
        likelihood, listed = (np.array([each.mean() for each in values]) for values in (logs, gains))
        return cls(likelihood, lowest_mean(logs), listed)


@dataclass(frozen=True, slots=True)
class References:
    """Parameters learned from other draws of people.

    Attributes:
        likelihood: mean log-probability of each person's choices under each, float64 [references, people].
        saw: who was learned from in each, bool [references, people]; everybody was left out of at least one.
        untrained: the same mean under parameters that were learned from no person, float64 [people].
    """

    likelihood: Floats
    saw: npt.NDArray[np.bool_]
    untrained: Floats

    def __post_init__(self) -> None:
        """Refuse a person whom every reference saw."""
        if bool(self.saw.all(axis=0).any()):
            raise InvalidInput("Every reference saw the same person: train one more without that person.")

    def unseen(self) -> Floats:
        """The mean probability of each person's choices under the references that did not see the person."""
        outside = ~self.saw
        return np.asarray((np.exp(self.likelihood) * outside).sum(axis=0) / outside.sum(axis=0))


@dataclass(frozen=True, slots=True)
class Strength:
    """How well an attack does: its AUC, and the share of members that it finds at one false alarm in a hundred, each
    with a 95 % bootstrap interval over people."""

    auc: float
    interval: tuple[float, float]
    found: float
    found_interval: tuple[float, float]

    @classmethod
    def of(cls, scores: Floats, members: Mask, seed: int) -> Strength:
        """Judge an attack; arguments as for :meth:`rag_rec.evaluation.membership.Attack.of`."""
        attack, sides = Attack.of(scores, members, seed), [scores[members], scores[~members]]
        low, high = interval_of(_found, sides, seed)
        found = float(_found(sides[0], sides[1]))
        return cls(attack.auc, attack.interval, round(found, 4), (round(low, 4), round(high, 4)))


def scores(reading: Reading, references: References) -> Mapping[str, Floats]:
    """The numbers of every attack by its name, float64 [people] each.

    ``likelihood`` and ``calibrated`` are those of :mod:`rag_rec.evaluation.membership`. ``min-k`` looks at the least
    expected choices only (Shi et al., "Detecting Pretraining Data from Large Language Models", ICLR 2024, arXiv
    2310.16789). ``lists`` sees no probability, only the ten items that would be recommended at each place of a history:
    how high the person's next choice stands in them. ``rmia`` is the ratio of the likelihood to that under references
    that did not see the person, in RMIA's offline form with a = 1 (Zarifzadeh, Liu and Shokri, ICML 2024, arXiv
    2312.03262, appendix B.2.2): the constant that a smaller a adds is far above the probability of one item among
    thousands, and would leave the likelihood alone. The population that its authors compare the ratio with orders
    people as the ratio itself does.
    """
    return {
        LIKELIHOOD: reading.likelihood,
        CALIBRATED: reading.likelihood - references.untrained,
        MIN_K: reading.lowest,
        LISTS: reading.listed,
        RMIA: reading.likelihood - np.log(references.unseen()),
    }


def lowest_mean(choices: Sequence[Floats], share: float = LOWEST) -> Floats:
    """The mean of the lowest share of each person's log-probabilities, at least one of them, float64 [people]."""
    counts = [max(1, round(share * len(each))) for each in choices]
    return np.array([np.partition(each, n - 1)[:n].mean() for each, n in zip(choices, counts, strict=True)])


def _found(inside: Floats, outside: Floats, axis: int = -1) -> Floats:
    """The share of members above all but :data:`FALSE_ALARMS` of the others."""
    limit = np.quantile(outside, 1.0 - FALSE_ALARMS, axis=axis, method="higher", keepdims=True)
    return np.asarray((inside > limit).mean(axis=axis))
