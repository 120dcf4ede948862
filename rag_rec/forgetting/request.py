"""What a forget command asks for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rag_rec.errors import ConfirmationRequired, InvalidInput
from rag_rec.forgetting.audit.actor import Actor, current_actor
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
        actor: who asks.
    """

    user_ids: tuple[str, ...]
    selection: Selection | None = None
    confirm: str | None = None
    plan: str | None = None
    lines: tuple[int, ...] | None = None
    actor: Actor = field(default_factory=current_actor, compare=False)

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
        return str(len(self.user_ids)) if self.is_batch else self.user_ids[0]

    def check(self) -> None:
        """Raise ``InvalidInput`` unless the request means something that can be planned."""
        if not self.user_ids:
            raise InvalidInput("A forget request names no person: give at least one user.")
        if self.selection is not None and len(self.user_ids) > 1:
            raise InvalidInput("Interactions are forgotten of one user at a time; a batch removes whole users.")
        if self.selection == Selection():
            raise InvalidInput(
                "A forget request for interactions names none: give ids, items, before or after; "
                "to remove everything, forget the user."
            )
        if self.selection is not None and self.selection.is_empty_span:
            raise InvalidInput(
                "No time is both from `after` on and before `before`: `after` has to be the earlier one."
            )

    def at(self, places: Sequence[int], verb: str) -> str:
        """Where in a batch something was found: "Lines 3 and 17 name", or "Position 0 of user_ids names".

        Args:
            places: indices into ``user_ids``, at least one.
            verb: in the plural.
        """
        named = listed(self.places(places), "Position" if self.lines is None else "Line")
        return f"{named}{' of user_ids' if self.lines is None else ''} {verb}{'' if len(places) > 1 else 's'}"

    def places(self, places: Sequence[int]) -> list[int]:
        """What people are told for indices into ``user_ids``: lines of the file, where there is one."""
        return list(places) if self.lines is None else [self.lines[place] for place in places]

    @property
    def is_batch(self) -> bool:
        """Whether people are named by their places: several, or those of a file, whatever is in it."""
        return len(self.user_ids) > 1 or self.lines is not None

    def check_confirmed(self) -> None:
        """Raise ``ConfirmationRequired`` unless subject and plan are quoted."""
        repeated = "the number of its users" if self.is_batch else "the user's id"
        lacking = []
        if self.confirm is None:
            lacking.append("nothing is confirmed")
        elif self.confirm != self.subject:
            lacking.append(f"the confirmation does not repeat {repeated}")
        if self.plan is None:
            lacking.append("no plan is quoted")
        if lacking:
            raise ConfirmationRequired(
                f"Forgetting cannot be undone, and {' and '.join(lacking)}: ask for a dry run first, then quote its "
                f"plan, and as confirmation repeat {repeated}. Nothing was changed."
            )

    def check_unconfirmed(self) -> None:
        """Raise ``InvalidInput`` if a dry run confirms something."""
        if self.confirm is not None or self.plan is not None:
            raise InvalidInput(
                "A dry run changes nothing, so that there is nothing to confirm: leave out either the dry run, or "
                "confirmation and plan."
            )

    def named_again(self) -> list[int]:
        """Indices into ``user_ids`` of those who are named before."""
        seen: set[str] = set()
        places = []
        for place, user_id in enumerate(self.user_ids):
            if user_id in seen:
                places.append(place)
            seen.add(user_id)
        return places


def listed(numbers: Sequence[int], noun: str) -> str:
    """Numbers after what they are of, as in "Lines 3, 5 and 17"; of many, the first."""
    named = [str(number) for number in numbers[:NAMED]]
    if len(numbers) > NAMED:
        named.append(f"{len(numbers) - NAMED} more")
    ending = "s" if len(numbers) > 1 else ""
    return f"{noun}{ending} {' and '.join(filter(None, [', '.join(named[:-1]), named[-1]]))}"


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
