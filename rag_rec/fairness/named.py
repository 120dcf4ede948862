"""Figures of fairness by the names that an operator gives them on the command line.

Of items: ``popularity`` (share of the head), ``aplt``, ``arp``, ``gini``, ``coverage``, ``mgu``, ``dgu`` (by bands of
popularity, against people's histories), ``mgu-choices`` and ``dgu-choices`` (against what people choose next), and
``exposure:ATTRIBUTE`` (by an attribute of items; ``exposure:provider`` by who provides them).

Of people, by an attribute of theirs, or by ``activity``, the length of their history: ``ATTRIBUTE:ndcg``,
``ATTRIBUTE:hr``, ``ATTRIBUTE:dp`` (demographic parity of exposure) and ``ATTRIBUTE:calibration``. The latter two are by
bands of popularity, or by an attribute of items: ``gender:dp:genre``. Attributes are crossed with a plus:
``gender+age:ndcg``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np

from rag_rec.domain import AttributeValue
from rag_rec.errors import InvalidInput
from rag_rec.fairness.exposure import Coverage, Gini, GroupUnfairness, MeanPopularity, Share, TailShare
from rag_rec.fairness.groups import NONE, Counts, Groups, Numbers, activity, bands, head
from rag_rec.fairness.metric import Metric
from rag_rec.fairness.parity import AccuracyGap, CalibrationGap, ExposureGap
from rag_rec.fairness.served import shares

Values = Sequence[AttributeValue | None]
ACTIVITY, EXPOSURE = "activity", "exposure"
MOST_VALUES: Final = 6
"""Numbers with more different values than this are put into quarters."""


@dataclass(frozen=True, slots=True)
class World:
    """What figures of fairness are made from.

    Attributes:
        popularity: how many people liked each item, integers [items].
        chosen: the item that each person chose next, int64 [people].
        histories: the items that each person chose before, int64 each.
        items: the values of each attribute of items, by its name: one for each item, None where it has none.
        people: the same of people.
    """

    popularity: Counts
    chosen: Numbers
    histories: Sequence[Numbers]
    items: Mapping[str, Values]
    people: Mapping[str, Values]


def named(name: str, world: World) -> Metric:
    """The figure of a name.

    Raises:
        InvalidInput: there is no such figure or attribute, or its groups cannot be compared.
    """
    require_name(name)
    if name in _ITEM_SIDE:
        return _ITEM_SIDE[name](world)
    what, kind, *rest = name.split(":")
    if what == EXPOSURE:
        return _unfairness(name, _of_items(kind, world), world)
    items = _of_items(rest[0], world) if rest else bands(world.popularity)
    return _PEOPLE_SIDE[kind](name, _of_people(what, world), items, world)


def require_name(name: str) -> None:
    """Refuse what is no name of a figure, whatever attributes there are.

    Raises:
        InvalidInput: it is none.
    """
    what, *rest = name.split(":")
    most = {EXPOSURE: 1}.get(what, 2 if rest and rest[0] in _BY_ITEMS else 1)
    known = what == EXPOSURE or (rest and rest[0] in _PEOPLE_SIDE)
    if name in _ITEM_SIDE or (known and 1 <= len(rest) <= most):
        return
    people = ", ".join(f"ATTRIBUTE:{kind}" for kind in _PEOPLE_SIDE)
    raise InvalidInput(
        f"There is no figure of fairness named {name!r}: choose from {', '.join(_ITEM_SIDE)}, {EXPOSURE}:ATTRIBUTE, "
        f"{people}."
    )


def grouped(values: Values) -> Groups:
    """Groups of equal values. Of a list of values the first one counts; many different numbers are put in quarters."""
    plain = [value[0] if isinstance(value, tuple) and value else value for value in values]
    numbers = [value if isinstance(value, int | float) and not isinstance(value, bool) else None for value in plain]
    if len(set(numbers) - {None}) > MOST_VALUES:
        return _quarters(numbers)
    return Groups.by([None if value is None or value == () else str(value) for value in plain])


def _quarters(values: Sequence[float | None]) -> Groups:
    """Four groups of about equally many, by the least and the greatest value of each."""
    known = [value for value in values if value is not None]
    limits = np.quantile(known, (0.25, 0.5, 0.75), method="lower")
    quarters = [None if value is None else int(np.searchsorted(limits, value, "left")) for value in values]
    inside: dict[int, list[float]] = {}
    for value, quarter in zip(values, quarters, strict=True):
        if value is not None and quarter is not None:
            inside.setdefault(quarter, []).append(value)
    places = {quarter: place for place, quarter in enumerate(sorted(inside))}
    names = tuple(_span(inside[quarter]) for quarter in places)
    of = [NONE if quarter is None else places[quarter] for quarter in quarters]
    return Groups(names, np.array(of, dtype=np.int64))


def _span(values: Sequence[float]) -> str:
    least, greatest = min(values), max(values)
    return f"{least:g}" if least == greatest else f"{least:g} to {greatest:g}"


def _of_people(names: str, world: World) -> Groups:
    return reduce(Groups.crossed, (_one_of_people(name, world) for name in names.split("+")))


def _one_of_people(name: str, world: World) -> Groups:
    if name == ACTIVITY:
        return activity(np.array([len(history) for history in world.histories]))
    if name not in world.people:
        raise InvalidInput(f"No person has an attribute {name!r}: choose from {_listed([ACTIVITY, *world.people])}.")
    return grouped(world.people[name])


def _of_items(name: str, world: World) -> Groups:
    if name not in world.items:
        raise InvalidInput(f"No item has an attribute {name!r}: choose from {_listed(list(world.items))}.")
    found = grouped(world.items[name])
    found.require(1, name)
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)) or "nothing: there is none"


def _unfairness(name: str, groups: Groups, world: World, *, spread: bool = False, next_ones: bool = False) -> Metric:
    chosen = world.chosen if next_ones else np.concatenate([np.zeros(0, dtype=np.int64), *world.histories])
    return GroupUnfairness(name, groups, shares(chosen, groups), spread)


def _by_bands(name: str, *, spread: bool = False, next_ones: bool = False) -> Callable[[World], Metric]:
    return lambda world: _unfairness(name, bands(world.popularity), world, spread=spread, next_ones=next_ones)


def _share(world: World) -> Metric:
    groups = head(world.popularity)
    return Share("popularity", groups, float(shares(world.chosen, groups)[0]))


def _tail(world: World) -> Metric:
    groups = head(world.popularity)
    return TailShare(groups, float(shares(world.chosen, groups)[1]))


def _calibration(name: str, people: Groups, items: Groups, world: World) -> Metric:
    histories = np.stack([shares(history, items) for history in world.histories])
    return CalibrationGap(name, people, items, histories)


_ITEM_SIDE: Final[Mapping[str, Callable[[World], Metric]]] = {
    "popularity": _share,
    "aplt": _tail,
    "arp": lambda world: MeanPopularity(world.popularity, float(world.popularity[world.chosen].mean())),
    "gini": lambda _: Gini(),
    "coverage": lambda _: Coverage(),
    "mgu": _by_bands("mgu"),
    "dgu": _by_bands("dgu", spread=True),
    "mgu-choices": _by_bands("mgu-choices", next_ones=True),
    "dgu-choices": _by_bands("dgu-choices", spread=True, next_ones=True),
}
_PEOPLE_SIDE: Final[Mapping[str, Callable[[str, Groups, Groups, World], Metric]]] = {
    "ndcg": lambda name, people, _, __: AccuracyGap(name, people),
    "hr": lambda name, people, _, __: AccuracyGap(name, people, hits=True),
    "dp": lambda name, people, items, _: ExposureGap(name, people, items),
    "calibration": _calibration,
}
_BY_ITEMS: Final = {"dp", "calibration"}
