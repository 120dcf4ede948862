"""What a forget command asks for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rag_rec.errors import ConfirmationRequired, InvalidInput
from rag_rec.store.protocol import Selection


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """Forget a whole user, or the interactions that ``selection`` means.

    ``confirm`` must repeat the user's id unless ``dry_run`` is set: the command cannot be undone.
    """

    user_id: str
    selection: Selection | None = None
    dry_run: bool = False
    confirm: str | None = None

    @property
    def scope(self) -> str:
        """``user`` or ``interactions``."""
        return "user" if self.selection is None else "interactions"

    def check(self) -> None:
        """Raise unless the request is complete and confirmed."""
        if self.selection == Selection():
            raise InvalidInput(
                "A forget request for interactions names none: give items, before or after; "
                "to remove everything, forget the user."
            )
        if not self.dry_run and self.confirm != self.user_id:
            raise ConfirmationRequired(
                "Forgetting cannot be undone: repeat the user's id as confirmation, or ask for a dry run first."
            )


@dataclass(frozen=True, slots=True)
class ForgetOutcome:
    """What went, or for a dry run what would go: ``removed`` counts rows and vectors by layer."""

    request_id: str | None
    state: str
    scope: str
    epoch_before: int
    epoch_after: int
    removed: Mapping[str, int]
    timings_ms: Mapping[str, float] = field(default_factory=dict)
