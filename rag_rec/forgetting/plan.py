"""The dry run: what a forget request would remove, and the hash by which it is agreed to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from rag_rec.errors import InvalidInput, UnknownUser
from rag_rec.forgetting.request import ForgetRequest, listed
from rag_rec.forgetting.system import System
from rag_rec.layers.records import Target
from rag_rec.store.records import Selection

RECENT: Final = 20
"""Requests from whose times the expected one is told."""

LISTED: Final = 100
"""So many interactions are listed in a plan; the others are counted only."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The blast radius of a request.

    Attributes:
        plan: the hash to quote. It covers who and what is meant; for single interactions each of them, so that it does
            not fit any more when another one has come under the selection.
        scope: ``user`` or ``interactions``.
        users: people concerned.
        interactions: rows of the store that would go.
        interaction_ids: of single interactions, the ids as an export shows them: the first 100, by time. Empty where
            whole users go.
        index_files: files of index generations that would be rewritten.
        profile_vectors: profiles that would go or be made anew; None without a loaded index.
        own_vectors: vectors of interactions with a text of their own that would go; None without a loaded index.
        statistics: positive interactions that would be subtracted from the counts; None without a loaded index.
        caches: what happens to answers under way and cached prompts.
        adapters: digests of the adapters that saw any of these people.
        held: legal reasons that forbid it.
        held_at: whom each of them is about: the line in a file counted from 1, else the position counted from 0.
        expected_ms: how long it may take, by the latest requests; None if there were none.
        beyond: what further layers say would go, by their names for it.
    """

    plan: str
    scope: str
    users: int
    interactions: int
    interaction_ids: tuple[int, ...]
    index_files: int
    profile_vectors: int | None
    own_vectors: int | None
    statistics: int | None
    caches: str
    adapters: tuple[str, ...]
    held: tuple[str, ...]
    held_at: tuple[int, ...]
    expected_ms: float | None
    beyond: Mapping[str, int | str | tuple[str, ...] | None] = field(default_factory=dict)


_OF_LAYERS: Final = {
    "index_files": 0,
    "profile_vectors": None,
    "own_vectors": None,
    "statistics": None,
    "caches": "",
    "adapters": (),
}
"""What of a plan the layers say, and what stands there where none does."""


class Planner:
    """Looks up what a request means, and changes nothing."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._store = system.store

    def targets(self, request: ForgetRequest) -> list[Target]:
        """The people of a request, in its order.

        Raises:
            UnknownUser: the store does not know one of them.
            InvalidInput: a person is named twice.
        """
        found = [self._store.user(user_id) for user_id in request.user_ids]
        _check_people(request, [place for place, known in enumerate(found) if known is None])
        numbers = [known[0] for known in found if known is not None]
        asked = zip(request.user_ids, numbers, strict=True)
        return [self._target(user_id, number, request.selection) for user_id, number in asked]

    def hash(self, request: ForgetRequest, targets: Sequence[Target]) -> str:
        """The hash of the plan. People are named by pseudonym and number, so that it outlives their ids."""
        meant = [[target.subject, str(target.number)] for target in sorted(targets, key=lambda each: each.subject)]
        rows = [] if request.selection is None else [str(number) for number in targets[0].interactions]
        content = {"scope": request.scope, "users": meant, "interactions": rows}
        return self._system.pseudonyms.content("plan", content)

    def plan(self, request: ForgetRequest) -> Plan:
        """The blast radius of a request.

        Raises:
            UnknownUser: the store does not know a person.
            InvalidInput: the selection meets nothing, or names interactions that are not the user's; a person
                is named twice; or a dry run is asked to confirm.
        """
        request.check_unconfirmed()
        targets = self.targets(request)
        check_met(request, targets)
        said: dict[str, Any] = {
            name: value for layer in self._system.layers for name, value in layer.preview(targets).items()
        }
        held = self.held(targets)
        return Plan(
            plan=self.hash(request, targets),
            scope=request.scope,
            users=len(targets),
            interactions=sum(len(target.interactions) for target in targets),
            interaction_ids=targets[0].interactions[:LISTED] if request.selection is not None else (),
            **{name: said.pop(name, otherwise) for name, otherwise in _OF_LAYERS.items()},
            beyond=said,
            held=tuple(held.values()),
            held_at=tuple(request.places(list(held))),
            expected_ms=self._expected(request.scope),
        )

    def held(self, targets: Sequence[Target]) -> dict[int, str]:
        """Reasons of the legal holds on these people, by where they are in the sequence."""
        reasons = {hold.subject: hold.reason for hold in self._store.holds()}
        return {place: reasons[each.subject] for place, each in enumerate(targets) if each.subject in reasons}

    def _target(self, user_id: str, number: int, selection: Selection | None) -> Target:
        subject = self._system.pseudonyms.user(user_id)
        chosen = self._store.select(number, selection or Selection())
        if selection is None:
            return Target(subject, number, tuple(chosen), ())
        rows = self._store.interactions(number, chosen)
        digests = tuple(self._system.pseudonyms.interaction(row.interaction) for row in rows)
        foreign = tuple(sorted(self._foreign(number, selection.numbers)))
        return Target(subject, number, tuple(row.number for row in rows), digests, foreign, whole=False)

    def _foreign(self, number: int, named: frozenset[int]) -> frozenset[int]:
        return named.difference(self._store.select(number, Selection(numbers=named))) if named else named

    def _expected(self, scope: str) -> float | None:
        recent = self._store.forget_records(newest=RECENT)
        totals = [sum(record.timings_ms.values()) for record in recent if record.scope == scope]
        return round(median(totals), 3) if totals else None


def check_met(request: ForgetRequest, targets: Sequence[Target]) -> None:
    """Raise ``InvalidInput`` if a request names interactions that are not the user's, or means none."""
    foreign = targets[0].foreign
    if foreign:
        raise InvalidInput(
            f"{listed(foreign, 'Id')} {'is no interaction' if len(foreign) == 1 else 'are no interactions'} of this "
            "user: an export shows the ids. Nothing was changed."
        )
    if request.selection is not None and not targets[0].interactions:
        raise InvalidInput("The user has no interaction that is meant; nothing was changed.")


def _check_people(request: ForgetRequest, unknown: Sequence[int]) -> None:
    """Raise an error that says of everybody who cannot be meant where they are named, and why."""
    if unknown and not request.is_batch:
        raise UnknownUser("There is no user with this id; nothing was changed.")
    again = request.named_again()
    problems = []
    if again:
        problems.append(f"{request.at(again, 'name')} a user who is named before: name each once.")
    if unknown:
        problems.append(f"{request.at(unknown, 'name')} no user of the store; nothing was changed.")
    if problems:
        raise (InvalidInput if again else UnknownUser)(" ".join(problems))
