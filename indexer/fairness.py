"""Measures how evenly the lists that are served treat items and people, on the choices that the gate asks for.

For each person asked the newest positive is hidden, and the candidates' order, the LLM's and the fused one are made as
:mod:`indexer.gate` makes them. Attributes of people are read for those asked, and no figure is of fewer than ten people
of a group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from indexer.gate import Asked
from rag_rec.catalogue.table import Catalogue
from rag_rec.errors import InvalidInput
from rag_rec.fairness.metric import Measured, measured
from rag_rec.fairness.named import Values, World, named
from rag_rec.fairness.served import Served
from rag_rec.index.serving_state import ServingState
from rag_rec.recommend.fusion import Floats
from rag_rec.recommend.gate import Gate

CANDIDATES, LLM, FUSED = "candidates", "llm", "fused"
PROVIDER: Final = "provider"


@dataclass(frozen=True, slots=True)
class FairnessReport:
    """A measurement to be made.

    Attributes:
        live: the state of the system.
        asked: what was said to the people asked.
        gate: of the LLM; None where there is none, or it was not measured.
        length: of a list.
        seed: of intervals, and of lists drawn at random.
    """

    live: ServingState
    asked: Asked
    gate: Gate | None
    length: int
    seed: int

    def of(self, names: Sequence[str]) -> dict[str, Any]:
        """Every figure of every order, with its interval and what it could be.

        Raises:
            InvalidInput: no figure is asked for, there is none of a name, or its groups cannot be compared.
        """
        if not names:
            raise InvalidInput("No figure of fairness was named: give `--metric popularity`, or another one.")
        world, orders = self._world(), self._orders()
        figures = [named(name, world) for name in dict.fromkeys(names)]
        return {
            "people": len(self.asked.questions),
            "served": FUSED if self.gate is not None and self.gate.use else CANDIDATES,
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
        if gate is not None:
            scores |= {LLM: trials.llm, FUSED: trials.fused(gate.weight)}
        return {name: self._served(each) for name, each in scores.items()}

    def _served(self, scores: Floats) -> Served:
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.length]
        lists = np.take_along_axis(self.asked.items, order, axis=1)
        chosen = np.array([question.answer for question in self.asked.questions], dtype=np.int64)
        return Served.of(lists, chosen, len(self.live.items))

    def _world(self) -> World:
        questions, count = self.asked.questions, len(self.live.items)
        histories = [question.positives["item"].astype(np.int64) for question in questions]
        popularity = self.live.statistics.popularity.total[:count].astype(np.int64)
        chosen = np.array([question.answer for question in questions], dtype=np.int64)
        people = [question.person.attributes for question in questions]
        names = sorted({name for each in people for name in each})
        told = {name: [each.get(name) for each in people] for name in names}
        return World(popularity, chosen, histories, _of_items(self.live.items.catalogue), told)


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
