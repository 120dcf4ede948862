"""The running product behind one door: what the service, the demo and the tests call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import Self

import numpy as np

from rag_rec.catalogue.filters import compile_filter
from rag_rec.clock import now_ms
from rag_rec.domain import (
    Interaction,
    Item,
    Recommendation,
    RecommendationRequest,
    SimilarItem,
    User,
)
from rag_rec.engine.attendance import Attendance
from rag_rec.engine.current import Current
from rag_rec.engine.officer import Officer
from rag_rec.engine.removals.process import RemovalProcess
from rag_rec.engine.status import Status
from rag_rec.engine.system import signer_of
from rag_rec.engine.tending import clean_if_possible
from rag_rec.errors import InvalidInput, NotReady, UnknownItem
from rag_rec.explain.opening import open_explainer
from rag_rec.explain.records import Conditions, ExplainedRecommendation, Lookup
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.home.opening import existing_store_of
from rag_rec.index.serving_state import ServingState
from rag_rec.places.occupation import Occupation
from rag_rec.presence.processes import enter
from rag_rec.recommend.pipeline import Overtaken, Recommender
from rag_rec.recommend.ranker import Ranker
from rag_rec.recommend.source import RankerSource
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import AppendResult
from rag_rec.validation import Limits, check_interaction, check_item, check_k, check_user
from rag_rec.vectors.embedding import open_embedder
from rag_rec.vectors.protocol import Embedder


class Engine:
    """A running system: recommendations, events and status, over one store and what answers at present. Thread-safe.

    Attributes:
        settings: as given to :meth:`open`.
        store: the system of record.
        embedder: the embedding model.
        current: the state in memory and the ranker.
        attendance: this process on the lists of the store; it says whether the engine may answer.
        officer: access, forgetting, proof, consent and legal holds.
        explainer: writes explanations; None where no instruction-tuned LLM is configured.
    """

    def __init__(self, current: Current, attendance: Attendance, removals: RemovalProcess | None = None) -> None:
        self.settings, self.store, self.embedder = current.settings, current.store, current.embedder
        self.current = current
        self.attendance = attendance
        self.officer = Officer(current, attendance, removals)
        self.explainer = open_explainer(current.settings)
        self._switching = threading.Lock()

    @classmethod
    def open(
        cls,
        settings: Settings,
        store: Store | None = None,
        embedder: Embedder | None = None,
        ranking: RankerSource | None = None,
        removals: RemovalProcess | None = None,
    ) -> Self:
        """Load the current generation and bring it up to the store's epoch, and open the generator.

        With ``removals``, which becomes the engine's own, people are forgotten in that process, so that answers do not
        have to share an interpreter with it.

        Raises:
            NoSystem: there is no store; none is made.
            NotReady: there is no index generation yet.
            CorruptIndex: the generation's files do not match its manifest.
            ForeignFolder: the data folder belongs to another store.
            CopiedFolder: it is a copy of one that is open.
            IncompatibleStore: the store is from a newer version.
            WrongKey: a key is lost, or is not the one that the store or its ledger was written with.
        """
        with ExitStack() as opened:
            if store is None:
                store = existing_store_of(settings)
                opened.callback(store.close)
                signer_of(settings, store)  # a wrong key is refused now rather than when a person is to be forgotten
            process = enter(store)  # before anything is read of a person
            embedder = embedder or open_embedder(settings.embedding_model, settings.embedding_threads)
            place = opened.enter_context(closing(Occupation(settings, store)))
            clean_if_possible(settings, store, place, thorough=True)  # a person may have been forgotten meanwhile
            current = Current.load(settings, store, embedder, ranking)
            engine = cls(current, Attendance(current, place, process), removals)
            engine._keep_up()  # a crash may have left a removal unfinished
            opened.pop_all()  # they are the engine's now
        return engine

    @property
    def live(self) -> ServingState:
        """The state in memory that answers at present."""
        return self.current.live

    @property
    def ranker(self) -> Ranker:
        """The generator in use, with its gate."""
        return self.current.ranking.current

    def recommend(self, request: RecommendationRequest) -> Recommendation:
        """Rank items for a user. An unknown user gets popular items, and the provenance says so.

        An answer that was under way while a person was being forgotten is thrown away and made again, so that nothing
        computed from that person leaves after the removal has taken effect. The deadline counts from the beginning.
        """
        started, asked = time.monotonic(), request
        while True:
            live = self.current.fresh()
            erasures = live.erasures
            with suppress(Overtaken):
                answer = Recommender(live, self.store, self.ranker, self.settings).recommend(asked)
                if self.live is live and live.erasures == erasures and self.store.erasure_epoch() <= live.epoch:
                    if self.attendance.term is not None:
                        return answer
                    self._begin_term()
            if request.deadline_ms:
                asked = replace(request, deadline_ms=max(1, request.deadline_ms - _milliseconds_since(started)))

    def explain(
        self, request: RecommendationRequest, item_id: str | None = None, stopped: Callable[[], bool] = lambda: False
    ) -> ExplainedRecommendation:
        """Recommend, and explain one of the items, or all of them: the texts are written while they are read.

        Args:
            request: as for :meth:`recommend`.
            item_id: the item to explain, one of the k recommended; None is all of them.
            stopped: tells whether the reader has left.

        Raises:
            NotReady: there is no instruction-tuned LLM that could explain.
            InvalidInput: the item is not among the k recommended.
        """
        if self.explainer is None:
            raise NotReady(
                "No LLM is configured that could explain: serve an instruction-tuned one with vLLM, and set "
                "RAGREC_GENERATOR=vllm, RAGREC_GENERATOR_URLS and RAGREC_GENERATOR_MODEL."
            )
        while True:
            conditions, lookup = self._conditions(stopped)
            answer = self.recommend(request)
            if conditions.valid():
                return self.explainer.explain(answer, item_id, lookup, conditions)

    def similar(self, item_id: str, k: int, filters: str | None = None) -> list[SimilarItem]:
        """The ``k`` items whose text is closest to this one's, best first."""
        check_k(k, self.settings)
        live = self.current.fresh()
        number = live.items.catalogue.number_of(item_id)
        if number is None:
            raise UnknownItem("There is no item with this id; add it with PUT /v1/items/{id}.")
        vectors = live.items.vectors()
        allowed = np.ones(len(vectors), dtype=np.bool_)
        if filters:
            allowed &= compile_filter(filters).mask(live.items.catalogue)[: len(vectors)]
        allowed[number] = False
        order = np.flatnonzero(allowed)
        scores = vectors[order] @ vectors[number]
        best = np.argsort(-scores.round(6), kind="stable")[:k]
        ids, texts = live.items.catalogue.ids, live.items.catalogue.texts
        return [SimilarItem(ids[order[place]], texts[order[place]], float(scores[place])) for place in best]

    def add_interactions(self, user_id: str, interactions: Sequence[Interaction]) -> AppendResult:
        """Store events; the next recommendation knows them."""
        if any(interaction.user_id != user_id for interaction in interactions):
            raise InvalidInput("Every interaction must be of the user it is posted for.")
        limits = self._limits()
        for interaction in interactions:
            check_interaction(interaction, limits)
        result = self.store.append(interactions)
        self.live.follow()
        return result

    def put_user(self, user: User) -> None:
        """Insert or replace a user's attributes."""
        check_user(user, self._limits())
        self.store.put_users([user])
        self.live.follow()

    def put_item(self, item: Item) -> None:
        """Insert or replace an item; it can be recommended at once."""
        check_item(item, self._limits())
        self.store.put_items([item])
        self.live.follow()

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        """Remove people, or some of a person's interactions, from every layer. See :meth:`Officer.forget`."""
        return self.officer.forget(request)

    def status(self) -> Status:
        """Whether the service can answer, and from what. Raises ``StoreLost`` where the store was lost or replaced."""
        self.store.check()
        live, counts, epoch = self.live, self.store.counts(), self.store.epoch()
        return Status(
            ready=True,
            generation=live.generation.id,
            epoch=live.epoch,
            lag=epoch - live.epoch,
            users=counts.users,
            items=counts.items,
            interactions=counts.interactions,
            suppressed=self.store.suppressed_events(),
            erasure_epoch=self.store.erasure_epoch(),
            ledger_copy_lag=LedgerFile(self.settings.ledger_file).lag(self.store),
            removal_process_losses=self.officer.removal_process_losses,
            generator=self.current.ranking.condition,
        )

    def warm_up(self) -> None:
        """Load the embedding model, which takes seconds, so that the first item or event with a text does not wait."""
        self.embedder.embed(["."])

    def refresh(self) -> bool:
        """Move to the index generation, the adapter and the gate that are current now, and finish what is unfinished.

        Requests go on with the old ones until the new ones are loaded.

        Returns:
            Whether another index generation was taken up.
        """
        with self._switching:
            self.store.check()  # what lies in the place of a store that was lost is nothing to go on with
            try:
                return self.current.take_up_generation()
            finally:  # one that is broken keeps back neither the index nor the generator, nor a removal
                try:
                    self.current.ranking.refresh()
                finally:
                    self._keep_up()

    def close(self) -> None:
        """Release the store and the generator."""
        self.attendance.leave()
        self.officer.close()
        self.current.ranking.close()
        if self.explainer is not None:
            self.explainer.close()
        self.store.close()

    def _keep_up(self) -> None:
        self.attendance.keep_up()
        self.officer.finish()

    def _begin_term(self) -> None:
        """Be heard of again after a silence, before the answer that was under way is made once more.

        Raises:
            NotReady: the store cannot be reached in time.
        """
        self.attendance.attend()
        if self.attendance.term is None:
            raise NotReady("The service was silent for too long, and is being heard of again; try again in a second.")

    def _conditions(self, stopped: Callable[[], bool]) -> tuple[Conditions, Lookup]:
        """On what an explanation of the present state goes on, and where it finds the items."""
        live = self.current.fresh()
        erasures, catalogue = live.erasures, live.items.catalogue
        conditions = Conditions(lambda: self.current.fresh() is live and live.erasures == erasures, stopped)
        return conditions, lambda name: catalogue.item(int(catalogue.numbers_of([name])[0]))

    def _limits(self) -> Limits:
        return Limits.at(now_ms(), self.settings)


def _milliseconds_since(started: float) -> int:
    return int(1000 * (time.monotonic() - started))
