"""What a forget command asks for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rag_rec.errors import ConfirmationRequired, InvalidInput
from rag_rec.store.records import Selection

NAMED: Final = 20
"""So many places of a batch are named in a message; the others are counted."""


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """Forget whole users, or the interactions of one user that ``selection`` means.

    To be carried out, a request must quote what it confirms: ``confirm`` repeats the user's id, or for a batch the
    number of its users, and ``plan`` the hash that a dry run gave (:class:`rag_rec.forgetting.plan.Plan`).

    Attributes:
        user_ids: whom.
        selection: which interactions; None for everything.
        confirm: what is repeated.
        plan: what is quoted.
        lines: for ``user_ids`` from a file, the line of each, counted from 1; messages name lines instead of ids.
    """

    user_ids: tuple[str, ...]
    selection: Selection | None = None
    confirm: str | None = None
    plan: str | None = None
    lines: tuple[int, ...] | None = None

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
        alone = len(self.user_ids) == 1 and self.lines is None  # a file is confirmed by its number, whatever is in it
        return self.user_ids[0] if alone else str(len(self.user_ids))

    def check(self) -> None:
        """Raise ``InvalidInput`` unless the request means something that can be planned."""
        if not self.user_ids:
            raise InvalidInput("A forget request names nobody: give at least one user.")
        again = self._named_again()
        if again:
            raise InvalidInput(f"{self.at(again, 'name')} a user who is named before: name each once.")
        if self.selection is not None and len(self.user_ids) > 1:
            raise InvalidInput("Interactions are forgotten of one user at a time; a batch removes whole users.")
        if self.selection == Selection():
            raise InvalidInput(
                "A forget request for interactions names none: give ids, items, before or after; "
                "to remove everything, forget the user."
            )

    def at(self, places: Sequence[int], verb: str) -> str:
        """Where in a batch something was found: "Lines 3 and 17 name", or "Position 0 of user_ids names".

        Args:
            places: indices into ``user_ids``, at least one.
            verb: in the plural.
        """
        where = list(places) if self.lines is None else [self.lines[place] for place in places]
        named = [str(place) for place in where[:NAMED]]
        if len(where) > NAMED:
            named.append(f"{len(where) - NAMED} more")
        several = len(where) > 1
        noun = ("Position" if self.lines is None else "Line") + "s" * several
        listed = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
        return f"{noun} {listed}{' of user_ids' if self.lines is None else ''} {verb}{'' if several else 's'}"

    def check_confirmed(self) -> None:
        """Raise ``ConfirmationRequired`` unless subject and plan are quoted."""
        if self.confirm != self.subject or self.plan is None:
            raise ConfirmationRequired(
                "Forgetting cannot be undone: ask for a dry run first, then repeat its plan, and as confirmation the "
                "user's id (for a batch, the number of users)."
            )

    def _named_again(self) -> list[int]:
        seen: set[str] = set()
        places = []
        for place, user_id in enumerate(self.user_ids):
            if user_id in seen:
                places.append(place)
            seen.add(user_id)
        return places


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
