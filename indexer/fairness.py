"""Measures how evenly the lists that are served treat items and people, on the choices that the gate asks for.

For each person asked the newest positive is hidden, and the candidates' order, the LLM's and the fused one are made as
:mod:`indexer.gate` makes them. Attributes of people are read for those asked, and no figure is of fewer than ten people
of a group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexer.gate import Asked
from rag_rec.catalogue.table import Catalogue
from rag_rec.errors import InvalidInput
from rag_rec.fairness.control import PROVIDER, Control, Grouping
from rag_rec.fairness.controlling import Order
from rag_rec.fairness.groups import NONE
from rag_rec.fairness.metric import Measured, measured
from rag_rec.fairness.named import Values, World, named
from rag_rec.fairness.served import NO_ITEM, Served
from rag_rec.index.serving_state import ServingState
from rag_rec.recommend.exposure import groups_of
from rag_rec.recommend.fusion import Floats
from rag_rec.recommend.gate import NOTHING, Gate

CANDIDATES, LLM, FUSED, CONTROLLED = "candidates", "llm", "fused", "controlled"


@dataclass(frozen=True, slots=True)
class FairnessReport:
    """A measurement to be made.

    Attributes:
        live: the state of the system.
        asked: what was said to the people asked.
        gate: of the LLM; None where there is none, or it was not measured.
        length: of a list.
        seed: of intervals, and of lists drawn at random.
        control: holds groups of items back in the order that is served.
    """

    live: ServingState
    asked: Asked
    gate: Gate | None
    length: int
    seed: int
    control: Control | None = None

    def of(self, names: Sequence[str]) -> dict[str, Any]:
        """Every figure of every order, with its interval and what it could be.

        Raises:
            InvalidInput: no figure is asked for, there is none of a name, or its groups cannot be compared.
        """
        if not names:
            raise InvalidInput("No figure of fairness was named: give `--metric popularity`, or another one.")
        world, orders = world_of(self.live, self.asked), self._orders()
        figures = [named(name, world) for name in dict.fromkeys(names)]
        return {
            "people": len(self.asked.questions),
            "served": CONTROLLED if CONTROLLED in orders else self.used,
            "length": self.length,
            "accuracy": {name: round(float(served.gains.mean()), 4) for name, served in orders.items()},
            "figures": {
                metric.name: {
                    name: _content(measured(metric, served, world.popularity, self.seed))
                    for name, served in orders.items()
                }
                for metric in figures
            },
        }

    def _orders(self) -> dict[str, Served]:
        trials, gate = self.asked.trials, self.gate
        scores = {CANDIDATES: trials.candidates}
        if gate is not None and gate.model != NOTHING:
            scores |= {LLM: trials.llm, FUSED: trials.fused(gate.weight)}
        orders = {name: order_of(self.live, self.asked, each, self.length) for name, each in scores.items()}
        served = {name: order.served() for name, order in orders.items()}
        if self.control is None or self.control.idle:
            return served
        fused = self.used == FUSED
        held = order_of(self.live, self.asked, scores[self.used], self.length, self.control.groupings)
        return served | {CONTROLLED: held.served(self.control.held(fused=fused))}

    @property
    def used(self) -> str:
        """The order that is served, before groups of items are held back."""
        return FUSED if self.gate is not None and self.gate.use else CANDIDATES


def order_of(
    live: ServingState, asked: Asked, scores: Floats, length: int, groupings: Sequence[Grouping] = ()
) -> Order:
    """An order of what was said to the people asked, with the group of each candidate in each kind of groups."""
    known = asked.items != NO_ITEM
    groups = np.full((len(groupings), *asked.items.shape), NONE)
    for of, grouping in zip(groups, groupings, strict=True):
        of[known] = groups_of(grouping, asked.items[known], live)
    chosen = np.array([question.answer for question in asked.questions], dtype=np.int64)
    everybody = np.arange(len(chosen))
    return Order(asked.items, scores, groups, chosen, everybody, len(live.items), length)


def world_of(live: ServingState, asked: Asked) -> World:
    """What figures of fairness of the people asked are made from."""
    questions, count = asked.questions, len(live.items)
    histories = [question.positives["item"].astype(np.int64) for question in questions]
    popularity = live.statistics.popularity.total[:count].astype(np.int64)
    chosen = np.array([question.answer for question in questions], dtype=np.int64)
    people = [question.person.attributes for question in questions]
    names = sorted({name for each in people for name in each})
    told = {name: [each.get(name) for each in people] for name in names}
    return World(popularity, chosen, histories, _of_items(live.items.catalogue), told)


def _of_items(catalogue: Catalogue) -> Mapping[str, Values]:
    rows = [catalogue.attributes.row(number) for number in range(len(catalogue))]
    found: dict[str, Values] = {
        name: [row.get(name) for row in rows] for name in catalogue.attributes.fields() if name != PROVIDER
    }
    providers = [catalogue.providers.get(number) for number in range(len(catalogue))]
    return found | ({PROVIDER: providers} if any(each is not None for each in providers) else {})


def _content(found: Measured) -> dict[str, Any]:
    return {
        "value": round(found.value, 4),
        "interval": [round(each, 4) for each in found.interval],
        "gap": round(found.gap, 4),
        "fair": round(found.fair, 4),
        "least": round(found.span[0], 4),
        "greatest": round(found.span[1], 4),
        "random": round(found.random, 4),
        "popular": round(found.popular, 4),
    }
