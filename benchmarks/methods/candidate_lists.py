"""The lists that the reranker orders, with the features of every item and the place of the answer.

Statistics never hold the answers. The people that the reranker learns from can be restricted, so that an attack on its
numbers can be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from benchmarks.methods.ranking import Questions
from rag_rec.candidates.features import FINE
from rag_rec.candidates.fitting import Choices
from rag_rec.candidates.model import CLOSER_LOOK, SCORE_DECIMALS, CandidateModel
from rag_rec.candidates.query import Query
from rag_rec.candidates.reranker import Reranker
from rag_rec.candidates.training import (
    Example,
    RerankerSettings,
    Split,
    count_splits,
    fit_coarse,
    fit_fine,
    make_split,
)
from rag_rec.events.history import History

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
NONE = -1


@dataclass(frozen=True, slots=True)
class CandidateLists:
    """Lists of candidates that got a closer look.

    Attributes:
        users: position of the user of each list, int64 [q].
        items: item numbers, int64 [q, c], -1 where a list is shorter.
        features: fine features, float32 [q, c, FINE].
        answers: column of the answer, int64 [q], -1 where it is not in the list.
    """

    users: Integers
    items: Integers
    features: npt.NDArray[np.float32]
    answers: Integers

    @classmethod
    def collect(cls, model: CandidateModel, examples: Sequence[Example]) -> Self:
        """What the coarse step of a model passes for each example."""
        items = np.full((len(examples), CLOSER_LOOK), NONE)
        features = np.zeros((*items.shape, len(FINE)), dtype=np.float32)
        for row, example in enumerate(examples):
            compared = model.compare(example.query)
            items[row, : len(compared.items)] = compared.items
            features[row, : len(compared.items)] = compared.fine
        wanted = np.array([example.answer for example in examples])
        users = np.array([example.query.user for example in examples])
        return cls(users, items, features, _columns(items, wanted))

    @classmethod
    def join(cls, parts: Sequence[CandidateLists]) -> Self:
        """All lists of several splits."""
        fields = ("users", "items", "features", "answers")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))

    def part(self, rows: Mask | Integers) -> CandidateLists:
        """Some of the lists."""
        return CandidateLists(self.users[rows], self.items[rows], self.features[rows], self.answers[rows])

    def choices(self) -> Choices:
        """What a reranker is fitted on: the lists that hold their answer."""
        found = self.part(self.answers >= 0)
        return Choices(found.features, found.answers, found.items >= 0)

    def scores(self, reranker: Reranker) -> Floats:
        """Log-probabilities that a reranker gives, float64 [q, c], -inf where there is no candidate."""
        scores = np.stack([reranker.fine_scores(row) for row in self.features])
        scores[self.items < 0] = -np.inf
        shifted = scores - scores.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))

    def best(self, scores: Floats, n: int) -> tuple[CandidateLists, Floats]:
        """The lists cut to their ``n`` best items in order, ties by item number, and the scores of these."""
        order = np.stack(
            [np.lexsort((items, -np.round(row, SCORE_DECIMALS))) for items, row in zip(self.items, scores, strict=True)]
        )[:, :n]
        place = (order == self.answers[:, None]) & (self.answers >= 0)[:, None]
        answers = np.where(place.any(axis=1), place.argmax(axis=1), NONE)
        features = np.take_along_axis(self.features, order[:, :, None], axis=1)
        kept = CandidateLists(self.users, np.take_along_axis(self.items, order, axis=1), features, answers)
        return kept, np.take_along_axis(scores, order, axis=1)

    def log_probability(self, scores: Floats) -> Floats:
        """That of each answer, float64 [q]; where it is not in the list, the lowest of all."""
        found = self.answers >= 0
        reached = np.take_along_axis(scores, np.maximum(self.answers, 0)[:, None], axis=1)[:, 0]
        return np.where(found, reached, reached[found].min(initial=0.0) - 1.0)


@dataclass(frozen=True, slots=True)
class FittedLists:
    """A reranker, what it was fitted on, and the same lists of people it was not fitted on.

    Attributes:
        reranker: fitted on members only.
        splits: the lists of everybody, by how many positives are hidden.
        members: by position of the user.
    """

    reranker: Reranker
    splits: list[CandidateLists]
    members: Mask

    def examples(self) -> CandidateLists:
        """The lists of members."""
        return CandidateLists.join([lists.part(self.members[lists.users]) for lists in self.splits])


def fit_lists(
    known: Sequence[tuple[int, History]],
    vectors: npt.NDArray[np.float32],
    n_items: int,
    settings: RerankerSettings,
    members: Mask,
) -> FittedLists:
    """As :func:`rag_rec.candidates.training.fit_reranker`, but the reranker learns from members alone.

    The statistics are everybody's, so that members and others differ by nothing but the reranker's numbers.
    """
    reranker, splits = Reranker.default(), []
    for hidden in range(1, count_splits(known, settings) + 1):
        split = make_split(known, vectors, n_items, hidden, settings)
        if hidden == 1:
            reranker = fit_coarse(_of_members(split, members), settings)
        split.model.reranker = reranker
        splits.append(CandidateLists.collect(split.model, split.examples))
    fitted = FittedLists(reranker, splits, members)
    return replace(fitted, reranker=fit_fine(reranker, fitted.examples().choices(), settings))


def asked_lists(
    questions: Questions, vectors: npt.NDArray[np.float32], reranker: Reranker, settings: RerankerSettings
) -> CandidateLists:
    """The lists of the questions of a benchmark, whose statistics hold everything but the answers."""
    statistics = questions.statistics(dense=settings.dense, regularisation=settings.regularisation)
    model = CandidateModel(statistics, lambda: vectors, None, None, reranker)
    return CandidateLists.collect(model, list(_examples(questions)))


def _examples(questions: Questions) -> Iterable[Example]:
    for user, answer in zip(questions.asked.tolist(), questions.answers.tolist(), strict=True):
        rows = questions.known[user]
        yield Example(Query(rows, rows["item"], None, None, user, int(rows["time"][-1])), answer)


def _of_members(split: Split, members: Mask) -> Split:
    return Split(split.model, [example for example in split.examples if members[example.query.user]])


def _columns(items: Integers, wanted: Integers) -> Integers:
    hits = items == wanted[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), NONE)
