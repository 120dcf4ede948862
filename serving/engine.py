"""What the routes need of the product. :class:`rag_rec.engine.Engine` provides it; tests may provide a fake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rag_rec.domain import Interaction, Item, Recommendation, RecommendationRequest, SimilarItem, User
from rag_rec.explanation import ExplainedRecommendation
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.status import Status
from rag_rec.store.protocol import AppendResult, ForgetRecord


class Engine(Protocol):
    """The running product: thread-safe, errors are :class:`rag_rec.errors.RagRecError`."""

    def recommend(self, request: RecommendationRequest) -> Recommendation:
        """Rank items for a user. An unknown user gets popular items, and the provenance says so."""

    def explain(
        self, request: RecommendationRequest, item_id: str | None, stopped: Callable[[], bool]
    ) -> ExplainedRecommendation:
        """Recommend, and explain one of the items, or all if ``item_id`` is None; ``stopped`` ends the writing."""

    def similar(self, item_id: str, k: int, filters: str | None = None) -> list[SimilarItem]:
        """Items whose text is close to this one's."""

    def add_interactions(self, user_id: str, interactions: Sequence[Interaction]) -> AppendResult:
        """Store events; the next recommendation knows them."""

    def put_user(self, user: User) -> None:
        """Insert or replace a user's attributes."""

    def put_item(self, item: Item) -> None:
        """Insert or replace an item; it can be recommended at once."""

    def export(self, user_id: str) -> tuple[User, list[Interaction]]:
        """Everything stored about a user (right of access)."""

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        """Remove a user, or some of a user's interactions, from every exact layer."""

    def forget_status(self, request_id: str) -> ForgetRecord:
        """What became of a forget request."""

    def status(self) -> Status:
        """Whether the service can answer, and from what."""

    def refresh(self) -> bool:
        """Move to the index generation that is current now. Returns whether another one was taken up."""

    def close(self) -> None:
        """Release what the engine holds."""
