"""People whose choices may not be masked, and counts of the choices that were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from rag_rec.debias.mask import Flags
from rag_rec.domain import Attributes
from rag_rec.errors import InvalidInput
from rag_rec.fairness.groups import Groups, Numbers
from rag_rec.fairness.named import grouped

LEAST: Final = 10
"""People of a group of whom anything is told."""


def protected(people: Sequence[Attributes], rules: Sequence[tuple[str, str]]) -> Flags:
    """Who is protected: people with one of these values of an attribute, bool [people].

    Args:
        people: the attributes of each.
        rules: names of attributes and values.

    Raises:
        InvalidInput: no person has such a value, so that the rule protects none.
    """
    found = np.zeros(len(people), dtype=np.bool_)
    for name, value in rules:
        has = np.array([value in _values(each.get(name)) for each in people], dtype=np.bool_)
        if not has.any():
            raise InvalidInput(f"No person has {name}={value}: the rule would protect none.")
        found |= has
    return found


def masked_counts(  # noqa: PLR0913 - what went, and all that it is counted by
    rows: Flags, owners: Numbers, items: Numbers, kinds: Groups, people: Sequence[Attributes], names: Sequence[str]
) -> dict[str, Any]:
    """What went, as counts: choices and people, by groups of items, and by attributes of people.

    Args:
        rows: which choices went, bool [choices].
        owners: whose each is, int64 [choices].
        items: the item of each, int64 [choices].
        kinds: groups of items.
        people: the attributes of each person.
        names: of attributes of people to count by; of groups of fewer than :data:`LEAST` people nothing is told.
    """
    counted = {"choices": _by(rows, kinds, kinds.of[items])}
    for name in names:
        groups = grouped([each.get(name) for each in people])
        sizes = Counter(groups.of.tolist())
        told = _by(rows, groups, groups.of[owners])
        counted[name] = {group: each for place, (group, each) in enumerate(told.items()) if sizes[place] >= LEAST}
    return {
        "choices": int(rows.sum()),
        "of": len(rows),
        "people": len(np.unique(owners[rows])),
        "of_people": len(people),
        "by": counted,
    }


def _by(rows: Flags, groups: Groups, of: Numbers) -> dict[str, dict[str, int]]:
    """Choices that went, and all choices, of each group."""
    return {
        name: {"masked": int((rows & (of == place)).sum()), "all": int((of == place).sum())}
        for place, name in enumerate(groups.names)
    }


def _values(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)


def attributes_named(figures: Sequence[str]) -> list[str]:
    """The attributes of people that figures of fairness name, in order: of ``gender+age:ndcg`` both."""
    found: dict[str, None] = {}
    for figure in figures:
        what, *rest = figure.split(":")
        if rest and what != "exposure":
            found |= dict.fromkeys(each for each in what.split("+") if each != "activity")
    return list(found)


def profiles(numbers: Sequence[int], users: Mapping[int, Any]) -> list[Attributes]:
    """The attributes of people by their numbers; nothing of those without a profile."""
    return [users[number].attributes if number in users else {} for number in numbers]
