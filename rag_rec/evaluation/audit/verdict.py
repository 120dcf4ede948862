"""Whether a removal passes: each of its figures has to be one that a further retraining could have had.

A fixed threshold would be wrong both ways: a true retraining is found by an attack in one draw of people and not in
another. So several retrainings without the people span a *band* for each figure, the interval in which a further one
falls with a given probability, and a result is held against the bands. The battery itself is tested in every run: a
retraining that is kept out of the bands has to pass, and the adapter from before the removal has to fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from rag_rec.errors import InvalidInput

LEAST_RETRAINS: Final = 3
FALSE_REJECTIONS: Final = 0.05
"""How often one of the figures of a true retraining lies outside of its band, all figures together."""


@dataclass(frozen=True, slots=True)
class Band:
    """Where a figure of a further retraining lies.

    Attributes:
        mean, deviation: of the retrainings.
        low, high: bounds of the prediction interval of one more, of normally distributed figures.
    """

    mean: float
    deviation: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float], level: float = FALSE_REJECTIONS) -> Band:
        """The band of a figure.

        Args:
            figures: one of each retraining.
            level: how often a further one lies outside.

        Raises:
            InvalidInput: there are too few.
        """
        if len(figures) < LEAST_RETRAINS:
            raise InvalidInput(f"{len(figures)} retrainings are too few for a band: train at least {LEAST_RETRAINS}.")
        mean, deviation = float(np.mean(figures)), float(np.std(figures, ddof=1))
        quantile = float(stats.t.ppf(1.0 - level / 2.0, len(figures) - 1))
        reach = quantile * deviation * math.sqrt(1.0 + 1.0 / len(figures))
        return cls(mean, deviation, mean - reach, mean + reach)

    def away(self, figure: float) -> float:
        """How many standard deviations of the retrainings a figure lies from their mean."""
        if figure == self.mean:
            return 0.0
        return (figure - self.mean) / self.deviation if self.deviation else math.copysign(math.inf, figure - self.mean)

    def holds(self, figure: float) -> bool:
        """Whether a retraining could have had it."""
        return self.low <= figure <= self.high


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of a result, and the band that it has to lie in."""

    name: str
    figure: float
    band: Band

    @property
    def passed(self) -> bool:
        """Whether it does."""
        return self.band.holds(self.figure)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one result."""

    checks: Sequence[Check]

    @property
    def passed(self) -> bool:
        """Whether every figure lies in its band."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> list[str]:
        """Names of the figures that do not."""
        return [check.name for check in self.checks if not check.passed]


def judge(figures: Mapping[str, float], retrained: Sequence[Mapping[str, float]]) -> Verdict:
    """Hold a result against the bands of the retrainings.

    Args:
        figures: of the result, by name.
        retrained: the same figures of each retraining.
    """
    level = FALSE_REJECTIONS / len(figures)  # Bonferroni: the figures are not independent
    bands = {name: Band.of([each[name] for each in retrained], level) for name in figures}
    return Verdict([Check(name, figure, bands[name]) for name, figure in figures.items()])
