"""Holds groups of items back while answering; see :mod:`rag_rec.fairness.control`."""

from __future__ import annotations

import numpy as np

from rag_rec.fairness.control import POPULARITY, PROVIDER, Control, Grouping
from rag_rec.fairness.groups import Numbers
from rag_rec.fairness.served import Floats
from rag_rec.index.serving_state import ServingState


def held_back(control: Control, items: Numbers, live: ServingState, *, fused: bool) -> Floats:
    """By how much each of some items is held back, float64 [n].

    Args:
        control: what was learned.
        items: their numbers, int64 [n].
        live: knows how popular they are, and their attributes.
        fused: whether it is the fused order, which has another scale than the candidates'.
    """
    found = np.zeros(len(items))
    for each in control.strengths:
        found += each.back(groups_of(each.grouping, items, live), fused=fused)
    return found


def groups_of(grouping: Grouping, items: Numbers, live: ServingState) -> Numbers:
    """The group of each of some items at present, int64 [n]."""
    if grouping.by == POPULARITY:
        popularity = live.statistics.popularity.total
        return grouping.of_popularity(popularity[items], float(popularity.mean()))
    catalogue = live.items.catalogue
    if grouping.by == PROVIDER:
        return grouping.of_values([catalogue.provider_of(number) for number in items.tolist()])
    return grouping.of_values([catalogue.attributes_of(number).get(grouping.by) for number in items.tolist()])
