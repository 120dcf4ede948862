"""What a way of training reaches and what it remembers, on one draw of people.

Members are everybody that the adapter was trained on, and outsiders everybody else: no training looks at the reserve,
and more people make tighter intervals. The references of the attack are trained in the same way as the adapter, as
somebody who attacks it would do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from benchmarks.methods.compact_model import Floats, Items, Trained, choices, next_items, untrained
from benchmarks.methods.distilled_case import DistilledCase
from benchmarks.methods.ranking import answer_gains
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.validation import Validation
from rag_rec.evaluation.audit.attacks import (
    CALIBRATED,
    LIKELIHOOD,
    LISTS,
    MIN_K,
    RMIA,
    Reading,
    References,
    Strength,
    scores,
)
from rag_rec.evaluation.bootstrap import interval
from rag_rec.evaluation.membership import Mask

ATTACKS: Final = (LIKELIHOOD, CALIBRATED, MIN_K, LISTS, RMIA)
Row = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """What one adapter says.

    Attributes:
        reading: of everybody's history.
        next: log-probability of every item after everybody's history, float64 [people, items].
        gains: NDCG@10 of everybody's validation answer, float64 [people].
    """

    reading: Reading
    next: Floats
    gains: Floats


@dataclass(frozen=True)
class MemoryAudit:
    """Measures one way of training on one draw.

    Attributes:
        case: the draw, and the trainings.
        rank: that all trainings are cut to; None leaves them whole.
        attacks: by name; without RMIA no reference is trained.
    """

    case: Case
    rank: int | None = None
    attacks: Sequence[str] = ATTACKS

    @cached_property
    def said(self) -> Said:
        """What the adapter says."""
        trained, case = self.case.original.truncated(self.rank), self.case
        logs = next_items(
            trained.model().train(mode=False), case.base.vocabulary, case.histories, case.settings.context
        )
        return Said(self._reading(trained), logs, answer_gains(logs, case.histories, case.answers))

    @cached_property
    def members(self) -> Mask:
        """Whom the adapter was trained on, bool [people]."""
        return np.isin(np.arange(len(self.case.histories)), self.case.members)

    def row(self, plain: MemoryAudit, validation: Validation | None) -> Row:
        """Accuracy, memory and cost; the change is against another way on the same people."""
        return {
            **self._accuracy(plain),
            **self._fused(validation),
            **self.told(),
            "cpu s": self.case.original.seconds,
        }

    def told(self) -> Row:
        """How well each attack tells members from outsiders."""
        return self._attacks(self.said.reading, self.case.members)

    def passed_on(self) -> Iterator[Row]:
        """Attacks on a student that read the first part of its people alone, part by part."""
        case = self.case
        if isinstance(case, DistilledCase):
            reading = self._reading(case.one_part().truncated(self.rank))
            for number in range(case.teaching.parts):
                yield self._attacks(reading, case.part(number))

    def _attacks(self, reading: Reading, inside: Items) -> Row:
        row: Row = {}
        found, outside = scores(reading, self._references), np.flatnonzero(~self.members)
        people, members = np.concatenate([inside, outside]), np.arange(len(inside) + len(outside)) < len(inside)
        strengths = {name: Strength.of(found[name][people], members, self.case.seed) for name in self.attacks}
        for name, strength in strengths.items():
            row |= {f"auc, {name}": strength.auc, f"auc, {name}, interval": list(strength.interval)}
        for name in [each for each in (LIKELIHOOD, RMIA) if each in strengths]:
            row[f"found at 1 % false alarms, {name}"] = strengths[name].found
            row[f"found at 1 % false alarms, {name}, interval"] = list(strengths[name].found_interval)
        return row

    def _accuracy(self, plain: MemoryAudit) -> Row:
        row: Row = {}
        change = self.said.gains - plain.said.gains
        for name, people in (("members", self.members), ("outsiders", ~self.members)):
            row[f"ndcg@10 {name}"] = float(self.said.gains[people].mean())
            row[f"ndcg@10 {name}, interval"] = list(interval(self.said.gains[people], self.case.seed))
        row["change of ndcg@10"] = float(change.mean())
        row["change of ndcg@10, interval"] = list(interval(change, self.case.seed))
        return row

    def _fused(self, validation: Validation | None) -> Row:
        if validation is None:
            return {}
        lists, _ = validation.asked
        found: Row = validation.accuracy(np.take_along_axis(self.said.next, np.maximum(lists.items, 0), axis=1))
        return {
            "ndcg@10 fused": found["ndcg@10 fused"],
            "fused gain": found["ndcg@10 fused"] - found["ndcg@10 of candidates"],
            "fused gain, interval": found["gain"],
        }

    def _reading(self, trained: Trained) -> Reading:
        case = self.case
        found = choices(trained.model().train(mode=False), case.base.vocabulary, case.histories, case.settings.context)
        return Reading.of([each.logs for each in found], [each.gains for each in found])

    @cached_property
    def _references(self) -> References:
        case, everybody = self.case, np.arange(len(self.case.histories))
        bare = self._reading(untrained(case.base)).likelihood
        if RMIA not in self.attacks:
            return References(bare[None], np.zeros((1, len(bare)), dtype=np.bool_), bare)
        made = [each.truncated(self.rank) for each in case.references]
        likelihood = np.stack([self._reading(each).likelihood for each in made])
        saw = np.stack([np.isin(everybody, people) for people in case.drawn])
        return References(likelihood, saw, bare)
