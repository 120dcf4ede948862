"""One system on which ways of debiasing are compared: what was asked and learned, and what lists each way leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from torch import Tensor

from indexer.compact_build import CompactBuilder
from indexer.debias_ground import Ground
from indexer.fairness import world_of
from indexer.learned import Learned
from rag_rec.compact.adapter import Deltas, served
from rag_rec.debias.mask import Flags
from rag_rec.debias.order import Wanted
from rag_rec.debias.search import Found, Limits
from rag_rec.fairness.control import Control as Held
from rag_rec.fairness.control import Grouping, Strengths
from rag_rec.fairness.controlling import Aim, learned
from rag_rec.fairness.judgement import judgement
from rag_rec.fairness.metric import Metric
from rag_rec.fairness.named import named
from rag_rec.fairness.served import Served
from rag_rec.influence.vectors import Vector, add

SEED: Final = 0
Row = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A system with an adapter in use, whatever its gate says.

    Attributes:
        builder: of the system.
        budget: the largest loss of NDCG, as a share.
        most: the largest share of the choices that may go.
        rounds: of mask, removal and line search.
    """

    builder: CompactBuilder
    budget: float
    most: float
    rounds: int = 1

    @cached_property
    def learned(self) -> Learned:
        """What the adapter in use learned."""
        return Learned.in_use(self.builder)

    @cached_property
    def ground(self) -> Ground:
        """What the gate asks for; the weight of the candidates is always the one that the gate would choose."""
        return replace(Ground.read(self.builder, self.learned)[1], control=None, gated=True)

    @cached_property
    def halves(self) -> Any:
        """The people to search on, and those to judge on."""
        return self.ground.halves(SEED)

    @cached_property
    def people(self) -> Any:
        """Who was learned from."""
        return self.learned.learned()

    @cached_property
    def at(self) -> Callable[[Vector], Any]:
        """The solves; their curvature is found once."""
        return self.ground.linear(self.people, self.builder.progress)

    @cached_property
    def whole(self) -> Any:
        """The questions to everybody."""
        return self.ground.questions(np.arange(len(self.ground.asked.questions)))

    @cached_property
    def before(self) -> Tensor:
        """What the adapter in use says."""
        found: Tensor = self.whole.opinions(self.learned.deltas())
        return found

    def figure(self, name: str) -> Metric:
        """A figure of fairness by its name."""
        return named(name, world_of(self.ground.live, self.ground.asked))

    def debiased(self, figure: Metric) -> Found:
        """By the search of the command, with the limits of this comparison."""
        protected = np.zeros(len(self.people), dtype=np.bool_)
        limits, wanted = Limits(self.most, self.budget, self.rounds), Wanted([figure], [1.0])
        search = self.ground.search(wanted, limits, self.halves[0], self.before, protected)
        return search.run(self.at, self.learned.deltas())

    def without(self, rows: Flags) -> Deltas:
        """One step of the theory without some choices, no line search."""
        deltas = self.learned.deltas()
        return served(add(deltas, self.at(deltas).step(rows)), self.learned.rank)

    def fairest(self, figure: Metric, count: int) -> Flags:
        """The choices whose going makes the LLM's lists fairest to first order, whatever it costs."""
        deltas, (search_on, _) = self.learned.deltas(), self.halves
        questions, order = self.ground.questions(search_on), self.ground.by_llm().taken(search_on)
        slope = Wanted([figure], [1.0]).slopes(order, questions.opinions(deltas))[figure.name]
        scores = self.at(deltas).scores(questions.back(deltas, slope))
        rows = np.zeros(len(scores), dtype=np.bool_)
        rows[np.argsort(scores, kind="stable")[:count]] = True
        return rows

    def row(self, name: str, figure: Metric, opinions: Tensor, control: Sequence[Grouping] = ()) -> Row:
        """What lists a way leaves on the people to judge on; with groups held back by strengths that were learned on
        the others."""
        ground, (search_on, judge) = self.ground, self.halves
        plain = ground.lists(self.before, search_on, judge)
        found = judgement([figure], plain, self._lists(figure, opinions, control), SEED)
        row = {"name": name, "metric": figure.name, **_told(found, figure.name)}
        if opinions is not self.before:
            alone = [ground.alone(each, judge) for each in (self.before, opinions)]
            told = _told(judgement([figure], alone[0], alone[1], SEED), figure.name)
            row |= {f"llm {key}": value for key, value in told.items()}
        return row

    def _lists(self, figure: Metric, opinions: Tensor, groupings: Sequence[Grouping]) -> Served:
        search_on, judge = self.halves
        if not groupings:
            return self.ground.lists(opinions, search_on, judge)
        none = tuple(Strengths(by, (0.0,) * len(by.names), (0.0,) * len(by.names)) for by in groupings)
        open_to = replace(self.ground, control=Held((figure.name,), self.budget, none, {}))
        order = open_to.fused(self.ground.weight(opinions, search_on))
        scores = order.weight * np.where(order.order.items < 0, 0.0, order.order.scores) + opinions.double().numpy()
        whole = replace(order.order, scores=np.where(order.order.items < 0, -np.inf, scores))
        aim = Aim([figure], self.budget)
        strengths = learned(whole.taken(search_on), aim, [len(by.names) for by in groupings])
        return whole.taken(judge).served(strengths)


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    """What something makes, and the seconds of processor time that it took."""
    started = time.process_time()
    made = make()
    return made, time.process_time() - started


def _told(found: Row, name: str) -> Row:
    before, after = found["gaps"][name]
    change, low, high = found["figures"][name]
    share = before or 1.0
    return {
        "gap_before": before,
        "gap_after": after,
        "gap_reduction": round(-change / share, 4),
        "reduction low": round(-high / share, 4),
        "reduction high": round(-low / share, 4),
        "ndcg_loss": found["loss"],
        "loss low": found["loss_interval"][0],
        "loss high": found["loss_interval"][1],
    }
