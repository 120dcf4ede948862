"""The product as parts of LangChain: retrievers over evidence and items, and recommendations as a runnable.

For applications that are built with LangChain. The service itself does not pass through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field, SkipValidation

from rag_rec.catalogue.filters import compile_filter
from rag_rec.domain import Item, Recommendation, RecommendationRequest, Strategy
from rag_rec.engine.engine import Engine
from rag_rec.errors import InvalidInput, needs
from rag_rec.evidence import strategy as evidence_strategy
from rag_rec.index.serving_state import ServingState
from rag_rec.recommend.evidence_pool import evidence_pool
from rag_rec.vectors.protocol import Vectors

with needs("explain"):
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import Runnable, RunnableLambda


class EvidenceRetriever(BaseRetriever):
    """Finds, among one user's own interactions, the evidence that a prompt about the query should see, oldest first.

    The query takes the place of the candidates: the strategy ``attention`` attends to it, the others choose without
    looking at it. A document is the item's text, and below it what the user wrote, if anything; its metadata are
    ``item_id``, ``event``, ``time`` (milliseconds since 1970 UTC) and ``value``. An unknown or forgotten user has none.
    """

    engine: SkipValidation[Engine]
    user_id: str
    strategy: Strategy = Strategy.ATTENTION
    budget: int | None = Field(default=None, ge=1, description="Token budget. Default: that of the settings.")

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain's signature
    ) -> list[Document]:
        vector = self.engine.embedder.embed([query])
        while True:
            live = self.engine.live
            live.follow()
            erasures = live.erasures
            documents = self._documents(live, vector)
            if self.engine.live is live and live.erasures == erasures:
                return documents

    def _documents(self, live: ServingState, vector: Vectors) -> list[Document]:
        found = self.engine.store.user(self.user_id)
        if found is None:
            return []
        number, settings = found[0], self.engine.settings
        history, vectors = live.people.recall(number)
        memory = evidence_pool(live, history, vectors, settings.positive_rule)
        chosen = evidence_strategy(self.strategy).select(memory.rows, vector, self.budget or settings.evidence_tokens)
        rows = memory.history[chosen]
        stored = self.engine.store.interactions(number, rows["interaction"].tolist()) if len(rows) else []
        texts = {row.number: row.interaction.text for row in stored}
        return [_evidence(live, row, texts[number]) for row in rows if (number := int(row["interaction"])) in texts]


def _evidence(live: ServingState, row: Any, text: str | None) -> Document:
    """One interaction as a document. ``row`` is a row of a history."""
    item = live.items.catalogue.item(int(row["item"]))
    value = float(row["value"])
    metadata = {
        "item_id": item.id,
        "event": live.events[int(row["event"])],
        "time": int(row["time"]),
        "value": None if np.isnan(value) else value,
    }
    return Document(page_content=f"{item.text}\n{text}" if text else item.text, metadata=metadata)


class ItemRetriever(BaseRetriever):
    """Finds the items whose texts are closest to the query, best first.

    The metadata of a document are the item's attributes, and ``item_id``, ``provider`` and ``score`` (cosine).
    """

    engine: SkipValidation[Engine]
    k: int = Field(default=10, ge=1)
    filters: str | None = Field(default=None, description="Attribute expression that every item must meet.")

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain's signature
    ) -> list[Document]:
        self.engine.live.follow()
        items = self.engine.live.items
        vectors = items.vectors()
        scores = vectors @ self.engine.embedder.embed([query])[0]
        allowed = np.arange(len(vectors))
        if self.filters:
            allowed = np.flatnonzero(compile_filter(self.filters).mask(items.catalogue)[: len(vectors)])
        best = allowed[np.argsort(-scores[allowed].round(6), kind="stable")[: self.k]]
        return [_item(items.catalogue.item(int(number)), float(scores[number])) for number in best]


def _item(item: Item, score: float) -> Document:
    metadata = {**item.attributes, "item_id": item.id, "provider": item.provider, "score": score}
    return Document(page_content=item.text, metadata=metadata)


def as_runnable(engine: Engine) -> Runnable[RecommendationRequest | Mapping[str, Any], Recommendation]:
    """Recommendations as a runnable: from a request, or the fields of one, to a :class:`Recommendation`."""

    def recommend(request: RecommendationRequest | Mapping[str, Any]) -> Recommendation:
        return engine.recommend(_request(request))

    return RunnableLambda(recommend, name="rag_rec")


def _request(given: RecommendationRequest | Mapping[str, Any]) -> RecommendationRequest:
    if isinstance(given, RecommendationRequest):
        return given
    fields = dict(given)
    try:
        if "strategy" in fields:
            fields["strategy"] = Strategy(fields["strategy"])
        return RecommendationRequest(**fields)
    except (TypeError, ValueError):
        known = ", ".join(RecommendationRequest.__dataclass_fields__)
        raise InvalidInput(f"A request has user_id, and may have the other ones of: {known}.") from None
