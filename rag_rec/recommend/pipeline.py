"""The pipeline that turns a request into a recommendation. Read it from top to bottom."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import structlog

from rag_rec.candidates.distinct import distinct
from rag_rec.candidates.query import CandidateList, Query
from rag_rec.catalogue.filters import compile_filter
from rag_rec.domain import (
    Provenance,
    Recommendation,
    RecommendationRequest,
    RecommendedItem,
    Source,
    User,
)
from rag_rec.errors import InvalidInput, RagRecError
from rag_rec.events.history import empty_history
from rag_rec.index.serving_state import ServingState
from rag_rec.recommend.exposure import held_back
from rag_rec.recommend.prompting import Context, PromptWriter, SelectedEvidence
from rag_rec.recommend.ranker import Ranked, Ranker
from rag_rec.recommend.reasons import cite
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.validation import check_k

log = structlog.get_logger()


class Overtaken(Exception):
    """A person was forgotten while the answer was being made; whatever has been computed is void."""


class Recommender:
    """Answers one request from one live state. Holds nothing personal itself."""

    def __init__(self, live: ServingState, store: Store, ranker: Ranker, settings: Settings) -> None:
        self._live = live
        self._store = store
        self._ranker = ranker
        self._settings = settings
        self._writer = PromptWriter(live, store, settings)
        self._erasures = live.erasures

    def recommend(self, request: RecommendationRequest) -> Recommendation:
        """The ``k`` best items for a user, with reasons and provenance.

        Raises:
            InvalidInput: k is out of range, or the filter cannot be understood.
            Overtaken: a person was forgotten in this memory meanwhile. It is looked at before each step that takes
                long; that nobody was, the caller has to make sure of.
        """
        self._check(request)
        deadline = time.monotonic() + request.deadline_ms / 1000 if request.deadline_ms else None
        epoch = self._live.epoch
        context = self._context(request.user_id)
        found = self._candidates(context, request)
        cost = self._ranker.evidence_cost
        self._go_on()
        chosen = self._writer.choose(context, found, request.strategy, cost)
        self._go_on()
        ranked = self._rank(context, found, chosen, deadline)
        self._go_on()
        best = np.argsort(-ranked.scores.round(9), kind="stable")[: request.k]
        return Recommendation(
            items=self._answer(found, ranked.scores, best, chosen),
            provenance=self._provenance(context, request, epoch, ranked, chosen.tokens),
        )

    def _check(self, request: RecommendationRequest) -> None:
        check_k(request.k, self._settings)
        if request.deadline_ms is not None and request.deadline_ms < 1:
            raise InvalidInput("deadline_ms must be at least 1.")

    def _go_on(self) -> None:
        """Not with an answer that is void already: it only delays the one that will be sent."""
        if self._live.erasures != self._erasures:
            raise Overtaken

    def _context(self, user_id: str) -> Context:
        """The user's live interactions."""
        found = self._store.user(user_id)
        number, user = found or (None, User(user_id))
        return context_of(self._live, user, number)

    def _candidates(self, context: Context, request: RecommendationRequest) -> CandidateList:
        """The best items that the user has not seen and the filter lets through."""
        live = self._live
        allowed = compile_filter(request.filters).mask(live.items.catalogue) if request.filters else None
        query, n = question(live, context, allowed), max(self._settings.candidates, request.k)
        if self._settings.equal_texts == "all":
            return self._found(query, n)
        return distinct(partial(self._found, query), n, live.items.catalogue.texts)

    def _found(self, query: Query, n: int) -> CandidateList:
        """The candidates; popular items where the candidate model fails, because an answer is better than none."""
        try:
            return self._live.model.candidates(query, n)
        except RagRecError:
            raise
        except Exception as error:  # the answer's source and the log say that it happened
            log.error("candidates_error", kind=type(error).__name__)
            return self._live.model.popular(query, n)

    def _rank(self, context: Context, found: CandidateList, chosen: SelectedEvidence, deadline: float | None) -> Ranked:
        """Final scores of the candidates. An LLM is not asked about a stranger, of whom it can know nothing."""
        if not self._ranker.asks or not found.personal or not len(found):
            return self._controlled(found, self._ranker.without(found.scores, personal=found.personal))
        most = self._ranker.generator.most_candidates
        prompt = self._writer.write(context, found, chosen, most)
        return self._controlled(found, self._ranker.rank(prompt, found.scores, deadline))

    def _controlled(self, found: CandidateList, ranked: Ranked) -> Ranked:
        """Hold back the groups that the operator named; not in the list of popular items, which is what it is."""
        control = self._ranker.control
        if control is None or ranked.source is Source.POPULARITY:
            return ranked
        named = control.named(fused=ranked.fused)
        back = held_back(control, found.items.astype(np.int64), self._live, fused=ranked.fused)
        return replace(ranked, scores=ranked.scores - back, held_back=named or None)

    def _answer(
        self,
        found: CandidateList,
        scores: npt.NDArray[np.float64],
        best: npt.NDArray[np.int64],
        chosen: SelectedEvidence,
    ) -> tuple[RecommendedItem, ...]:
        """The best candidates, each with the interactions of the same user that speak for it."""
        catalogue = self._live.items.catalogue
        reasons = cite(self._live, found.items[best], chosen.memory, chosen.rows)
        return tuple(
            RecommendedItem(
                item_id=catalogue.ids[found.items[place]],
                text=catalogue.texts[found.items[place]],
                score=float(scores[place]),
                sources=found.sources[place],
                reasons=why,
            )
            for place, why in zip(best, reasons, strict=True)
        )

    def _provenance(
        self, context: Context, request: RecommendationRequest, epoch: int, ranked: Ranked, evidence_tokens: int
    ) -> Provenance:
        ranking = ranked.ranking
        return Provenance(
            epoch=epoch,
            generation=self._live.generation.id,
            strategy=request.strategy,
            source=ranked.source,
            known_user=context.number is not None,
            evidence_tokens=evidence_tokens,
            model=ranking.model if ranking else None,
            adapter=ranking.adapter if ranking else None,
            label_mass=ranking.label_mass if ranking else None,
            fallback=ranked.fallback,
            gate=self._ranker.gate_state,
            held_back=ranked.held_back,
        )


def context_of(live: ServingState, user: User, number: int | None) -> Context:
    """What a state knows of a user at present; nothing of a stranger, whose ``number`` is None."""
    if number is None:
        nothing = empty_history()
        return Context(user, None, nothing, nothing, live.items.vectors()[:0])
    history, vectors = live.people.recall(number)
    return Context(user, number, history, live.positives(history), vectors)


def question(live: ServingState, context: Context, allowed: npt.NDArray[np.bool_] | None = None) -> Query:
    """What the candidate model is asked for a user: items that they have not met, among the ``allowed`` ones.

    "Recent" refers to the user's last positive, or to the newest that anybody has.
    """
    positives = context.positives
    return Query(
        positives=positives,
        seen=live.met(context.history),
        allowed=allowed,
        profile=live.people.profile(context.number),
        user=context.number,
        reference_time=int(positives["time"][-1]) if len(positives) else live.statistics.popularity.latest(),
    )
