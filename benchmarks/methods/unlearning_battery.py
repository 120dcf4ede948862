"""The audit of one draw: what adapters say of its people, for :class:`rag_rec.evaluation.audit.battery.Battery`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from benchmarks.methods.compact_model import Floats, Trained, after, choices, untrained
from benchmarks.methods.ranking import answer_gains
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.validation import Validation
from rag_rec.compact.reading import Choices
from rag_rec.evaluation.audit import battery
from rag_rec.evaluation.audit.attacks import Reading, References
from rag_rec.evaluation.audit.battery import Groups, View
from rag_rec.recommend.fusion import Trials, fit_gate
from rag_rec.recommend.gate import Gate


class Battery(battery.Battery):
    """Holds a result against the retrainings of a case. The last one is kept out of the bands: it has to pass.

    Args:
        case: the draw.
        drawn: RMIA compares with adapters of other draws of people; otherwise with the retrainings, which saw neither
            the forgotten nor the outsiders, and cost no further training.
        validation: the candidates of the same people; None where nothing is fused.
    """

    def __init__(self, case: Case, *, drawn: bool = True, validation: Validation | None = None) -> None:
        people = Groups(case.gone, case.retained, case.outsiders)
        self.case, self.validation = case, validation
        self.groups = people.asked(case.seed)
        retrainings = [self.view(each) for each in case.without]
        references = self._of_draws if drawn else battery.others(retrainings, self._untrained)
        super().__init__(people, self.view(case.original), retrainings, references, case.seed)

    def view(self, *trained: Trained) -> View:
        """What an adapter says; of several, the mean of the probabilities that each gives, of states and of gains."""
        found = [self._said(each) for each in trained]
        every = list(zip(*(choices for choices, _, _ in found), strict=True))
        mixed = [_mixture([said.logs for said in each]) for each in every]
        listed = [np.asarray(np.mean([said.gains for said in each], axis=0)) for each in every]
        return View(
            Reading.of(mixed, listed),
            {name: _mixture([asked[name] for _, asked, _ in found]) for name in self.groups},
            {name: np.mean([states[name] for _, _, states in found], axis=0) for name in self.groups},
        )

    def gains(self, view: View, group: str) -> Floats:
        """NDCG@10 of each person asked, over the whole catalogue without what the history holds, float64 [people]."""
        people = self.groups[group]
        return answer_gains(view.asked[group], self.case.of(people), self.case.answers[people])

    def fused(self, view: View, group: str) -> Gate | None:
        """What the people asked have of an adapter beside the candidates, whose statistics hold everybody.

        The gate has the NDCG@10 over the candidates, by cross-fitted weights. None where nothing is fused.
        """
        if self.validation is None:
            return None
        people, (lists, scores) = self.groups[group], self.validation.asked
        items = lists.items[people]
        llm = np.take_along_axis(view.asked[group], np.maximum(items, 0), axis=1)
        return fit_gate(
            Trials(scores[people], np.where(items >= 0, llm, -np.inf), lists.answers[people]), self.case.seed
        )

    def _said(self, trained: Trained) -> tuple[list[Choices], dict[str, Floats], dict[str, Floats]]:
        """Of everybody's choices, and of the next item and the states there of the people asked."""
        model, vocabulary, context = trained.model(), trained.base.vocabulary, self.case.settings.context
        model.train(mode=False)
        known = {name: self.case.of(people) for name, people in self.groups.items()}
        said = {name: after(model, vocabulary, histories, context) for name, histories in known.items()}
        asked, states = ({name: each[place] for name, each in said.items()} for place in (0, 1))
        return choices(model, vocabulary, self.case.histories, context), asked, states

    def _of_draws(self, _: View) -> References:
        return self._adapters

    @cached_property
    def _untrained(self) -> Floats:
        return self.view(untrained(self.case.base)).reading.likelihood

    @cached_property
    def _adapters(self) -> References:
        case = self.case
        readings = [self.view(each).reading.likelihood for each in case.references]
        saw = np.stack([np.isin(np.arange(len(case.histories)), people) for people in case.drawn])
        return References(np.stack(readings), saw, self._untrained)


def _mixture(logs: Sequence[Floats]) -> Floats:
    """The logarithm of the mean of several probabilities."""
    return np.asarray(np.logaddexp.reduce(logs, axis=0) - np.log(len(logs)))
