"""The exposure control: groups of items are held back in the final order, each by a strength of its own.

It subtracts the strength of an item's group from its score. It holds no person and needs no training, so that it is
what every debiasing of an LLM has to be held against. Popularity is the live one, in multiples of its mean, so that an
item leaves the head when it is liked less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from rag_rec.domain import AttributeValue
from rag_rec.fairness.groups import NONE, Counts, Groups, Numbers, bands, head
from rag_rec.fairness.served import Floats

POPULARITY: Final = "popularity"
PROVIDER: Final = "provider"
MOST_GROUPS: Final = 32
"""Groups with a strength of their own: those that are shown most. The others are not held back."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """How an item's group is found while answering.

    Attributes:
        by: popularity, or an attribute of items.
        names: of the groups.
        limits: of popularity, descending, in multiples of its mean: a group has at least its limit, and the last group
            has less than all of them.
    """

    by: str
    names: tuple[str, ...]
    limits: tuple[float, ...] = ()

    @classmethod
    def by_popularity(cls, popularity: Counts, *, whole: bool) -> Self:
        """The head and the others; or all bands of popularity, where they are asked for as a whole."""
        groups = bands(popularity) if whole else head(popularity)
        mean = max(1e-9, float(popularity.mean()))
        least = [float(popularity[groups.of == group].min()) / mean for group in range(len(groups) - 1)]
        return cls(POPULARITY, groups.names, tuple(least))

    def of_popularity(self, popularity: Counts, mean: float) -> Numbers:
        """The group of items with these popularities, int64 [n]."""
        below = popularity[:, None] < np.array(self.limits)[None, :] * mean
        return np.asarray(below.sum(axis=1))

    def of_values(self, values: Sequence[AttributeValue | None]) -> Numbers:
        """The group of items with these values of the attribute, int64 [n]; of a list the first one counts."""
        number = {name: place for place, name in enumerate(self.names)}
        plain = [value[0] if isinstance(value, tuple) and value else value for value in values]
        return np.array([NONE if value is None else number.get(str(value), NONE) for value in plain], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Strengths:
    """How far the groups are held back.

    Attributes:
        grouping: which groups.
        fused: strength of each group in the fused order, in nats of its scores.
        candidates: the same in the candidates' order, which has another scale.
    """

    grouping: Grouping
    fused: tuple[float, ...]
    candidates: tuple[float, ...]

    def back(self, of: Numbers, *, fused: bool) -> Floats:
        """By how much items of these groups are held back, float64 [n]; 0 without a group."""
        return np.append(self.fused if fused else self.candidates, 0.0)[of]

    def named(self, *, fused: bool) -> dict[str, float]:
        """What is held back, by the name of the group."""
        found = zip(self.grouping.names, self.fused if fused else self.candidates, strict=True)
        return {f"{self.grouping.by}={name}": strength for name, strength in found if strength}


@dataclass(frozen=True, slots=True)
class Control:
    """What was learned for some figures of fairness.

    Attributes:
        figures: their names, in order.
        budget: the largest loss of NDCG that was allowed, as a share.
        strengths: one for each kind of groups.
        judged: what was measured of each order on people from whom no strength was learned, by the name of the order.
    """

    figures: tuple[str, ...]
    budget: float
    strengths: tuple[Strengths, ...]
    judged: Mapping[str, Any]

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Back from plain values. Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is none."""
        strengths = tuple(_strengths(each) for each in fields["strengths"])
        return cls(tuple(map(str, fields["figures"])), float(fields["budget"]), strengths, dict(fields["judged"]))

    @property
    def idle(self) -> bool:
        """Whether nothing is held back at all."""
        return not any(any(each.fused) or any(each.candidates) for each in self.strengths)

    @property
    def groupings(self) -> tuple[Grouping, ...]:
        """The kinds of groups."""
        return tuple(each.grouping for each in self.strengths)

    def held(self, *, fused: bool) -> list[Floats]:
        """The strengths in an order, float64 [groups] for each kind of groups."""
        return [np.array(each.fused if fused else each.candidates) for each in self.strengths]

    def named(self, *, fused: bool) -> dict[str, float]:
        """What is held back in an order, by the name of the group."""
        return {name: value for each in self.strengths for name, value in each.named(fused=fused).items()}


def _strengths(fields: Mapping[str, Any]) -> Strengths:
    told = fields["grouping"]
    names = tuple(map(str, told["names"]))
    grouping = Grouping(str(told["by"]), names, tuple(map(float, told["limits"])))
    fused, candidates = (tuple(map(float, fields[order])) for order in ("fused", "candidates"))
    if not len(names) == len(fused) == len(candidates) or not np.isfinite([*fused, *candidates]).all():
        raise ValueError("strengths do not fit their groups")
    if grouping.limits and len(grouping.limits) != len(names) - 1:
        raise ValueError("limits do not fit their groups")
    return Strengths(grouping, fused, candidates)


def most_shown(groups: Groups, shown: Numbers) -> tuple[str, ...]:
    """Names of the groups that have most of these items, at most :data:`MOST_GROUPS`, by name."""
    of = groups.of[shown]
    counts = np.bincount(of[of != NONE], minlength=len(groups))
    most = np.argsort(-counts, kind="stable")[:MOST_GROUPS]
    return tuple(sorted(groups.names[place] for place in most if counts[place]))
