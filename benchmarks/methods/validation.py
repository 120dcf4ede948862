"""What all variants of the compact generator are asked: validation answers among candidates that one reranker
ordered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.data import Benchmark
from benchmarks.methods.candidate_lists import CandidateLists, FittedLists, asked_lists, fit_lists
from benchmarks.methods.compact_model import Bases
from benchmarks.methods.membership import half
from benchmarks.methods.ranking import Questions, questions, ranks
from rag_rec.candidates.training import RerankerSettings
from rag_rec.evaluation.ranking import ndcg
from rag_rec.events.history import History
from rag_rec.recommend.fusion import Trials, fit_gate
from rag_rec.settings import Settings

CANDIDATES: Final = 50
SEED: Final = 0
ALL_USERS: Final = 10**6
Row = dict[str, object]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Validation:
    """One benchmark set with what all variants share: known histories, questions, candidates, and who is a member."""

    benchmark: Benchmark
    vectors: npt.NDArray[np.float32]

    @cached_property
    def questions(self) -> Questions:
        """Everybody's validation answer."""
        return questions(self.benchmark, 2, ALL_USERS)

    @cached_property
    def histories(self) -> list[Integers]:
        """Known items of everybody, oldest first."""
        return [rows["item"].astype(np.int64) for rows in self.questions.known]

    @cached_property
    def members(self) -> npt.NDArray[np.bool_]:
        """Whom the attacked parameters are learned from."""
        return half(len(self.histories), SEED)

    @cached_property
    def bases(self) -> Bases:
        """Bases by architecture."""
        return Bases(self.benchmark, self.vectors)

    @cached_property
    def reranker(self) -> RerankerSettings:
        """How the reranker is fitted."""
        dense = self.benchmark.n_items <= Settings().dense_items_limit
        return RerankerSettings(dense=dense, least_positives=max(2, self.benchmark.least - 2))

    @cached_property
    def known(self) -> list[tuple[int, History]]:
        """User numbers and known histories."""
        users = (user for user, _ in self.benchmark.histories)
        return list(zip(users, self.questions.known, strict=True))

    @cached_property
    def fitted(self) -> FittedLists:
        """The reranker that learned from everybody."""
        return self.fit(np.ones(len(self.known), dtype=np.bool_))

    @cached_property
    def halved(self) -> FittedLists:
        """The reranker that learned from members only."""
        return self.fit(self.members)

    @property
    def inside(self) -> list[Integers]:
        """Known items of the members."""
        return [items for items, member in zip(self.histories, self.members, strict=True) if member]

    @property
    def asked_histories(self) -> list[Integers]:
        """Known items of those who are asked."""
        return [self.histories[user] for user in self.questions.asked.tolist()]

    def fit(self, members: npt.NDArray[np.bool_]) -> FittedLists:
        """A reranker that learned from some."""
        return fit_lists(self.known, self.vectors, self.benchmark.n_items, self.reranker, members)

    @cached_property
    def asked(self) -> tuple[CandidateLists, Floats]:
        """The best candidates of every question, in order, and their log-probabilities."""
        lists = asked_lists(self.questions, self.vectors, self.fitted.reranker, self.reranker)
        return lists.best(lists.scores(self.fitted.reranker), CANDIDATES)

    def accuracy(self, llm: Floats) -> Row:
        """NDCG@10 of log-probabilities [questions, candidates], alone and fused."""
        lists, scores = self.asked
        gate = fit_gate(Trials(scores, np.where(lists.items >= 0, llm, -np.inf), lists.answers), SEED)
        return {
            "ndcg@10 of 50": gate.llm,
            "ndcg@10 fused": gate.fused,
            "ndcg@10 of candidates": gate.candidates,
            "gain": list(gate.gain or ()),
            "weight": gate.weight,
        }

    def whole(self, llm: Floats) -> float:
        """NDCG@10 over the full catalogue, of log-probabilities of all items [questions, items]."""
        row_of = {user: row for row, user in enumerate(self.questions.asked.tolist())}
        return round(ndcg(ranks(self.questions, lambda users: llm[[row_of[user] for user in users.tolist()]])), 4)
