"""Measures whether an LLM improves on the candidates' own order, and with which weight: the fusion gate.

The newest positive of a sample of users is hidden, statistics are counted without it, and both the candidate model and
the LLM rank the candidates that come out. Where the LLM has an adapter, the sample is made of the people whose newest
item the adapter was not trained on. Where the LLM has no answer that can be relied on, the candidates' order counts,
as it does in service. The reranker is the one in use; it has been fitted on these choices too, which can only favour
the candidates' own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.candidates.model import CandidateModel
from rag_rec.candidates.query import CandidateList, Query
from rag_rec.candidates.statistics import Statistics
from rag_rec.compact.sequences import ASKED, LEAST_POSITIVES
from rag_rec.domain import RecommendationRequest, User
from rag_rec.errors import NotReady
from rag_rec.evaluation.held_out import is_held_out
from rag_rec.events.history import History
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.language_model import LanguageModel
from rag_rec.generators.protocol import Prompt
from rag_rec.index.serving_state import ServingState
from rag_rec.progress.protocol import Progress
from rag_rec.recommend.fusion import Floats, Trials
from rag_rec.recommend.prompting import Context, PromptWriter
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store

LEAST_USERS: Final = 50
"""With fewer users than this there is nothing to decide by."""
MOST_USERS: Final = 2 * ASKED
"""So many are asked at most: a model whose adapter leaves out everybody's newest choice, or none, has no fewer."""
BATCH: Final = 64
UNHEALTHY: Final = frozenset({Reason.LOW_LABEL_MASS, Reason.MISSING_LABELS, Reason.NOT_A_NUMBER})
"""Failures of one answer; any other means that the LLM cannot be asked."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Whose newest positive is asked for.

    Attributes:
        share: of the users, see :func:`is_held_out`.
        seed: of that sample.
        changed: users with a change since the adapter was trained. They are not asked for an item
            that they had liked before: it may have been learned.
        shortened: users with a removal since then. They are not asked: what is now their newest
            positive was not the newest, and has been learned.
    """

    share: float = 1.0
    seed: int = 0
    changed: frozenset[int] = frozenset()
    shortened: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Question:
    """One user without the newest positive: profile, number, history before it, positives, and the hidden item."""

    person: User
    user: int
    history: History
    positives: History
    answer: int

    def query(self, live: ServingState) -> Query:
        """What the candidate model is asked."""
        rest = self.positives
        return Query(rest, live.met(self.history), None, None, self.user, int(rest["time"][-1]))


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said to the people asked.

    Attributes:
        questions: one for each person.
        items: item numbers of the candidates, int64 [people, n]; -1 where there is none.
        trials: what the candidate model and the LLM say of them.
        prompts: what the LLM was asked, one for each person; none without an LLM.
    """

    questions: Sequence[Question]
    items: npt.NDArray[np.int64]
    trials: Trials
    prompts: Sequence[Prompt] = ()


class GateMeasurement:
    """Measures one generator on the live state; None stands for the candidates' own order alone."""

    def __init__(
        self, live: ServingState, store: Store, settings: Settings, model: LanguageModel | None, progress: Progress
    ) -> None:
        self._live = live
        self._store = store
        self._settings = settings
        self._model = model
        self._progress = progress
        self._writer = PromptWriter(live, store, settings)

    def ask(self, sample: Sample) -> Asked:
        """Ask both about the sample.

        Raises:
            NotReady: too few people have enough positives.
            GeneratorFailure: the LLM cannot be asked.
        """
        questions = self._questions(sample)
        if len(questions) < LEAST_USERS:
            raise NotReady(
                f"Only {len(questions)} people can be asked, {LEAST_USERS} are needed to tell whether the LLM helps: "
                "wait for more interactions, or train with a larger held-out share."
            )
        return self._asked(questions, self._candidate_model(questions))

    def _asked(self, questions: list[Question], candidates: CandidateModel) -> Asked:
        """What both say to every question; -inf where there is no candidate."""
        self._progress.stage("gate", len(questions))
        width = self._settings.candidates
        if self._model is not None:
            width = min(width, self._model.most_candidates)
        scores = np.full((len(questions), width), -np.inf)
        opinions, answers = scores.copy(), np.full(len(questions), -1)
        items, prompts = np.full((len(questions), width), -1), list[Prompt]()
        for start in range(0, len(questions), BATCH):
            batch = questions[start : start + BATCH]
            found = [candidates.candidates(question.query(self._live), width) for question in batch]
            written = [] if self._model is None else self._prompts(self._model, batch, found)
            said = [None] * len(batch) if self._model is None else _ask(self._model, written)
            prompts += written
            for row, (question, each, opinion) in enumerate(zip(batch, found, said, strict=True), start):
                scores[row, : len(each)], items[row, : len(each)] = each.scores, each.items
                opinions[row, : len(each)] = each.scores if opinion is None else opinion
                place = np.flatnonzero(each.items == question.answer)
                answers[row] = place[0] if len(place) else -1
            self._progress.advance(len(batch))
        return Asked(questions, items, Trials(scores, opinions, answers), prompts)

    def _prompts(
        self, model: LanguageModel, questions: Sequence[Question], found: Sequence[CandidateList]
    ) -> list[Prompt]:
        return [self._prompt(model, *each) for each in zip(questions, found, strict=True)]

    def _questions(self, sample: Sample) -> list[Question]:
        asked = []
        for user, history in self._live.people.histories():
            positives = self._live.positives(history)
            person = self._store.user_by_number(user) if len(positives) >= LEAST_POSITIVES else None
            if person is None or not is_held_out(person.id, sample.share, sample.seed):
                continue
            if not self._may_be_learned(sample, user, history, positives):
                asked.append(_hide_newest(person, user, history, positives))
        chosen = np.random.default_rng(sample.seed).permutation(len(asked))[:MOST_USERS]
        return [asked[place] for place in np.sort(chosen).tolist()]

    def _may_be_learned(self, sample: Sample, user: int, history: History, positives: History) -> bool:
        """Whether the newest positive may be one that the adapter was trained on after all."""
        if user in sample.shortened or user not in sample.changed:
            return user in sample.shortened
        newest = positives[-1]
        before = self._live.positives(history[history["interaction"] != newest["interaction"]])
        return bool((before["item"] == newest["item"]).any())

    def _candidate_model(self, questions: list[Question]) -> CandidateModel:
        """The candidate model over statistics that lack the answers."""
        live = self._live
        known = {user: live.positives(history) for user, history in live.people.histories()}
        known |= {question.user: question.positives for question in questions}
        count = len(live.items)
        dense = count <= self._settings.dense_items_limit
        statistics = Statistics.build(known.items(), count, dense=dense)
        return CandidateModel(statistics, live.items.vectors, None, None, live.reranker)

    def _prompt(self, model: LanguageModel, question: Question, found: CandidateList) -> Prompt:
        """The prompt that the service would write, had the newest positive not happened yet."""
        history, vectors = self._live.people.recall(question.user)
        before = np.isin(history["interaction"], question.history["interaction"])
        context = Context(question.person, question.user, history[before], question.positives, vectors[before])
        strategy, cost = RecommendationRequest(question.person.id).strategy, model.evidence_cost
        chosen = self._writer.choose(context, found, strategy, cost)
        return self._writer.write(context, found, chosen, model.most_candidates)


def _ask(model: LanguageModel, prompts: Sequence[Prompt]) -> list[Floats | None]:
    """The LLM's log-probabilities for each prompt; None where its answer cannot be relied on."""
    try:
        return [ranking.log_probabilities for ranking in model.rank_many(prompts)]
    except GeneratorFailure as failure:
        if failure.reason not in UNHEALTHY:
            raise
        return [None] if len(prompts) == 1 else [_ask(model, [prompt])[0] for prompt in prompts]


def _hide_newest(person: User, user: int, history: History, positives: History) -> Question:
    """The user as known before the newest positive."""
    newest = positives[-1]
    before = history[: np.flatnonzero(history["interaction"] == newest["interaction"])[0]]
    before = before[before["item"] != newest["item"]]
    return Question(person, user, before, positives[:-1], int(newest["item"]))
