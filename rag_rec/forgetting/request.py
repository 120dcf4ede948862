"""What a forget command asks for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rag_rec.errors import ConfirmationRequired, InvalidInput
from rag_rec.store.protocol import Selection


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """Forget whole users, or the interactions of one user that ``selection`` means.

    To be carried out, a request must quote what it confirms: ``confirm`` repeats the user's id, or for a batch the
    number of its users, and ``plan`` the hash that a dry run gave (:class:`rag_rec.forgetting.plan.Plan`).
    """

    user_ids: tuple[str, ...]
    selection: Selection | None = None
    confirm: str | None = None
    plan: str | None = None

    @classmethod
    def of(
        cls, user_id: str, selection: Selection | None = None, confirm: str | None = None, plan: str | None = None
    ) -> ForgetRequest:
        """A request about one person."""
        return cls((user_id,), selection, confirm, plan)

    @property
    def scope(self) -> str:
        """``user`` or ``interactions``."""
        return "user" if self.selection is None else "interactions"

    @property
    def subject(self) -> str:
        """What ``confirm`` has to repeat."""
        return self.user_ids[0] if len(self.user_ids) == 1 else str(len(self.user_ids))

    def check(self) -> None:
        """Raise ``InvalidInput`` unless the request means something that can be planned."""
        if not self.user_ids:
            raise InvalidInput("A forget request names nobody: give at least one user.")
        if len(set(self.user_ids)) < len(self.user_ids):
            raise InvalidInput("A batch names a user twice: name each once.")
        if self.selection is not None and len(self.user_ids) > 1:
            raise InvalidInput("Interactions are forgotten of one user at a time; a batch removes whole users.")
        if self.selection == Selection():
            raise InvalidInput(
                "A forget request for interactions names none: give ids, items, before or after; "
                "to remove everything, forget the user."
            )

    def check_confirmed(self) -> None:
        """Raise ``ConfirmationRequired`` unless subject and plan are quoted."""
        if self.confirm != self.subject or self.plan is None:
            raise ConfirmationRequired(
                "Forgetting cannot be undone: ask for a dry run first, then repeat its plan, and as confirmation the "
                "user's id (for a batch, the number of users)."
            )


@dataclass(frozen=True, slots=True)
class ForgetOutcome:
    """What went.

    Attributes:
        request_id: of the request, or of the batch.
        requests: the requests, one for each person, in the order in which they were named.
        state: how far the least advanced of them has come.
        scope: ``user`` or ``interactions``.
        epoch_before: the store's epoch before.
        epoch_after: the erasure epoch: no answer that leaves from now on is older.
        removed: rows, by kind.
        timings_ms: milliseconds by step.
        repeated: whether it had been carried out before; then nothing was done, and the receipts are the same.
    """

    request_id: str
    requests: tuple[str, ...]
    state: str
    scope: str
    epoch_before: int
    epoch_after: int
    removed: Mapping[str, int]
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    repeated: bool = False
