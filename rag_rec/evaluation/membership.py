"""Membership inference: can somebody who holds the parameters tell whose history they were learned from?

An attack gives each person a number, and says "member" where it is high. Its AUC over the people that were learned from
(members) against people that were not is .5 where nothing can be told, and 1 where everybody is found. Two attacks: the
log-likelihood itself (Yeom et al., "Privacy risk in machine learning", CSF 2018, arXiv 1709.01604), and its difference
to that of a reference that has seen no person, which takes out how ordinary a history is (Watson et al., "On the
importance of difficulty calibration in membership inference attacks", ICLR 2022, arXiv 2111.08440).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from rag_rec.evaluation.bootstrap import interval_of

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LEAST_PEOPLE: Final = 50
"""With fewer people on either side than this nothing is measured: the interval would be wider than a tenth each way."""
THRESHOLD, CALIBRATED = "likelihood", "likelihood against a reference"


@dataclass(frozen=True, slots=True)
class Attack:
    """How well an attack does: AUC over members against the others, with a 95 % bootstrap interval over people."""

    auc: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, scores: Floats, members: Mask, seed: int) -> Attack:
        """Judge an attack.

        Args:
            scores: one number for each person, the higher the more a member, float64 [people].
            members: who was learned from.
            seed: of the bootstrap, which draws members and others apart.
        """
        inside, outside = scores[members], scores[~members]
        low, high = interval_of(_auc, [inside, outside], seed)
        return cls(round(auc(inside, outside), 4), (round(low, 4), round(high, 4)))


@dataclass(frozen=True, slots=True)
class Membership:
    """What the stronger of the two attacks tells from one set of parameters about who was learned from.

    Attributes:
        members, held_out: how many people were learned from, and how many were not, among those who were asked about.
        attack: the stronger attack; None where too few people were asked about to measure any.
        auc, low, high: of that attack, with a 95 % bootstrap interval over people.
        generation: the index generation whose build learned the parameters and measured them; None: the one at hand.
    """

    members: int
    held_out: int
    attack: str | None = None
    auc: float | None = None
    low: float | None = None
    high: float | None = None
    generation: str | None = None

    @classmethod
    def measure(cls, likelihood: Floats, reference: Floats, members: Mask, seed: int) -> Self:
        """Try both attacks, and keep the one that tells more.

        Args:
            likelihood: mean log-likelihood of each person's choices under the parameters, float64 [people].
            reference: the same under parameters that have seen no person.
            members: who was learned from.
            seed: of the bootstrap.
        """
        inside, outside = int(members.sum()), int((~members).sum())
        if min(inside, outside) < LEAST_PEOPLE:
            return cls(inside, outside)
        tried = {THRESHOLD: likelihood, CALIBRATED: likelihood - reference}
        found = {name: Attack.of(scores, members, seed) for name, scores in tried.items()}
        name, attack = max(found.items(), key=lambda each: each[1].auc)
        return cls(inside, outside, name, attack.auc, *attack.interval)

    @classmethod
    def read(cls, fields: Mapping[str, Any] | None) -> Self | None:
        """Back from :meth:`fields`. Raises ``TypeError`` or ``ValueError`` for what is none."""
        if fields is None:
            return None
        read = cls(**fields)
        bounds = [each for each in (read.auc, read.low, read.high) if each is not None]
        if len(bounds) not in {0, 3} or not all(0.0 <= float(bound) <= 1.0 for bound in bounds):
            raise ValueError
        return read

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def auc(inside: Floats, outside: Floats) -> float:
    """Probability that a member scores above somebody else; a tie counts one half (Mann and Whitney, 1947)."""
    return float(_auc(inside, outside))


def _auc(inside: Floats, outside: Floats, axis: int = -1) -> Floats:
    """The same along an axis, for many resamples at once."""
    from scipy.stats import rankdata  # noqa: PLC0415 - takes a second, which every command would pay at its start

    ranks = rankdata(np.concatenate([inside, outside], axis=axis), axis=axis)
    count = inside.shape[axis]
    above = np.take(ranks, np.arange(count), axis=axis).sum(axis=axis) - count * (count + 1) / 2
    return np.asarray(above / (count * outside.shape[axis]))
