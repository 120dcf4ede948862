"""What the routes need of the product. :class:`rag_rec.engine.engine.Engine` provides it; tests may provide a fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from rag_rec.domain import Interaction, Item, Recommendation, RecommendationRequest, SimilarItem, User
from rag_rec.engine.status import Status
from rag_rec.explain.records import ExplainedRecommendation
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.layers.records import ForgetRecord
from rag_rec.store.records import AppendResult, Hold, StoredInteraction, Suppression

if TYPE_CHECKING:  # it brings the numerical libraries, which --help does not need
    from rag_rec.forgetting.audit.trail import Deed
    from rag_rec.forgetting.plan import Plan


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
        """Store events; the next recommendation knows them. Those of a forgotten person are refused and counted."""

    def put_user(self, user: User) -> None:
        """Insert or replace a user's attributes. Raises ``Forgotten``."""

    def put_item(self, item: Item) -> None:
        """Insert or replace an item; it can be recommended at once."""

    def export(self, user_id: str) -> tuple[User, list[StoredInteraction]]:
        """Everything stored about a user (right of access)."""

    def plan(self, request: ForgetRequest) -> Plan:
        """What a forget request would remove, and the hash that confirms it."""

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        """Remove users, or some of a user's interactions, from every layer.

        Raises:
            ConfirmationRequired: the request does not quote subject and plan.
            PlanChanged: what would go is not what the plan says.
            LegalHold: somebody may not be forgotten.
            Unfinished: accepted and in force, but not finished; it is taken up again.
        """

    def forget_records(self, request_id: str) -> list[ForgetRecord]:
        """What became of a forget request, or of every request of a batch. Raises ``UnknownRequest``."""

    def pending(self) -> list[ForgetRecord]:
        """The forget requests that are not complete, oldest first."""

    def forget_requests(self, *, pending: bool = False, newest: int | None = None) -> list[ForgetRecord]:
        """Forget requests, oldest first: only those that are not complete, and of them the ``newest`` so many."""

    def find(self, user_id: str) -> list[ForgetRecord]:
        """The forget requests about a person, oldest first, by the id that the person has or had."""

    def receipt(self, request_id: str) -> str:
        """The signed receipt of a request, its latest revision."""

    def public_key(self) -> str:
        """The key that verifies receipts, as PEM."""

    def prove(self, request_id: str) -> Mapping[str, Any]:
        """Compare the system with one that never knew the person; adds the table to the receipt. Takes long."""

    def audit(self, after: int = 0, limit: int | None = None) -> list[Deed]:
        """What was done, and by whom, oldest first: the first ``limit`` of those above ``after`` in the ledger."""

    def consent(self, user_id: str) -> Suppression:
        """Open a new identity for a forgotten person, whose events are taken again from now on."""

    def hold(self, user_id: str, reason: str) -> object:
        """Keep a person from being forgotten, for a legal reason."""

    def release(self, user_id: str) -> None:
        """Lift a legal hold. Raises ``UnknownUser`` where there is none."""

    def holds(self) -> list[Hold]:
        """All legal holds, by time."""

    def status(self) -> Status:
        """Whether the service can answer, and from what."""

    def join(self, let_answers_leave: Callable[[], None]) -> None:
        """Register as a live replica: a removal elsewhere waits until this one has followed.

        ``let_answers_leave`` waits until every answer that was begun by now has left; it is called before the others
        are told.
        """

    def stay(self) -> None:
        """Remain registered: called now and then, also while a refresh takes long."""

    def term(self) -> int | None:
        """The number of the unbroken time in which others wait for this service; None while nobody may be sent anything
        personal. What was begun in one term must not leave in another."""

    def attend(self) -> bool:
        """Follow the store at once where somebody was forgotten, and say so; called many times a second.

        Returns whether somebody was.
        """

    def warm_up(self) -> None:
        """Load what the first item would otherwise wait for. Takes seconds; answers go on meanwhile."""

    def refresh(self) -> bool:
        """Follow the store, take up pending forget requests, and move to the index generation that is current now.

        Returns whether another generation was taken up.
        """

    def close(self) -> None:
        """Leave the live replicas, and release what the engine holds."""
