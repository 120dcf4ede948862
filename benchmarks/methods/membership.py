"""Membership inference: can somebody who holds the parameters tell whose history they were learned from?

Parameters are learned from a random half of the people. An attack gives each person a number, and says "member" where
it is high. Its AUC over members against the others is .5 where nothing can be told, and 1 where everybody is found.
Two attacks: the log-likelihood itself (Yeom et al., "Privacy risk in machine learning", CSF 2018, arXiv 1709.01604),
and its difference to that of a reference which has seen nobody, which takes out how ordinary a history is (Watson et
al., "On the importance of difficulty calibration in membership inference attacks", ICLR 2022, arXiv 2111.08440).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
RESAMPLES = 1000


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
        generator = np.random.default_rng(seed)
        resampled = [auc(_drawn(inside, generator), _drawn(outside, generator)) for _ in range(RESAMPLES)]
        low, high = np.percentile(resampled, [2.5, 97.5])
        return cls(round(auc(inside, outside), 4), (round(float(low), 4), round(float(high), 4)))


def half(people: int, seed: int) -> Mask:
    """A random half of the people: the members."""
    return np.asarray(np.random.default_rng(seed).permutation(people) < people // 2)


def attacks(likelihood: Floats, reference: Floats, members: Mask, seed: int) -> dict[str, object]:
    """Both attacks as fields of a row.

    Args:
        likelihood: log-likelihood of each person's data under the parameters, float64 [people].
        reference: the same under parameters that have seen nobody.
        members: who was learned from.
        seed: of the bootstrap.
    """
    fields: dict[str, object] = {}
    for name, scores in (("threshold", likelihood), ("calibrated", likelihood - reference)):
        found = Attack.of(scores, members, seed)
        fields |= {f"membership auc, {name}": found.auc, f"membership auc, {name}, interval": list(found.interval)}
    return fields


def auc(inside: Floats, outside: Floats) -> float:
    """Probability that a member scores above somebody else; a tie counts one half (Mann and Whitney, 1947)."""
    ranks = rankdata(np.concatenate([inside, outside]))
    above = ranks[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2
    return float(above / (len(inside) * len(outside)))


def _drawn(scores: Floats, generator: np.random.Generator) -> Floats:
    return scores[generator.integers(len(scores), size=len(scores))]
