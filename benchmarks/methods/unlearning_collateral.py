"""What a removal does to the lists of people who stay, by how alike they are to those who go."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np

from benchmarks.methods.compact_model import Floats, Trained, next_items
from benchmarks.methods.ranking import without_known
from benchmarks.methods.unlearning_case import Case
from rag_rec.evaluation.audit.distance import overlaps
from rag_rec.evaluation.bootstrap import interval

THIRDS: Final = ("least alike", "middle", "most alike")


def likeness(case: Case) -> Floats:
    """The cosine of each retained person's set of items to that of the nearest of the forgotten, float64 [retained]."""
    sets = np.zeros((len(case.histories), case.benchmark.n_items))
    for row, items in zip(sets, case.histories, strict=True):
        row[items] = 1.0
    sets /= np.maximum(np.linalg.norm(sets, axis=1, keepdims=True), 1e-12)
    return np.asarray((sets[case.retained] @ sets[case.gone].T).max(axis=1))


class Collateral:
    """Compares the ten best items of retained people with those of retrainings, of which the last is kept out."""

    def __init__(self, case: Case) -> None:
        self.case = case

    @cached_property
    def thirds(self) -> dict[str, Sequence[int]]:
        """Places among the retained, by :func:`likeness`."""
        order = np.argsort(likeness(self.case), kind="stable")
        return dict(zip(THIRDS, (part.tolist() for part in np.array_split(order, len(THIRDS))), strict=True))

    def alike(self, trained: Trained) -> Floats:
        """Mean rank-biased overlap of each retained person's list with those of the retrainings, float64 [retained]."""
        said = self._lists(trained)
        return np.asarray(np.mean([overlaps(said, other) for other in self._retrained], axis=0))

    @cached_property
    def kept_out(self) -> Floats:
        """:meth:`alike` of the retraining that is kept out: what another seed does."""
        return self.alike(self.case.without[-1])

    def row(self, alike: Floats) -> dict[str, object]:
        """The mean of each third, and how far it lies behind the retraining that is kept out, with 95 % intervals."""
        found: dict[str, object] = {}
        for name, places in self.thirds.items():
            behind = (self.kept_out - alike)[places]
            for title, each in ((f"overlap, {name}", alike[places]), (f"behind a retraining, {name}", behind)):
                found |= {title: float(each.mean()), f"{title}, interval": list(interval(each, self.case.seed))}
        return found

    @cached_property
    def _retrained(self) -> list[Floats]:
        return [self._lists(each) for each in self.case.without[:-1]]

    def _lists(self, trained: Trained) -> Floats:
        """Scores of the items that may be recommended, float64 [retained, items]: what a history holds is last."""
        case, model = self.case, trained.model()
        model.train(mode=False)
        histories = case.of(case.retained)
        said = next_items(model, case.base.vocabulary, histories, case.settings.context)
        return without_known(said, histories)
