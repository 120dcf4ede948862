"""What a layer is told of a removal: whom it is about before it is accepted, and the record of the request after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class ForgetState(StrEnum):
    """How far a forget request has come. Accepting and hiding are one transaction: no request exists whose person can
    still be seen."""

    ACCEPTED = "accepted"
    HIDDEN = "hidden"  # deleted from the store, so that no read path sees it
    ERASED = "erased"  # physically gone from every file
    EFFECTIVE = "effective"  # every live replica has passed the erasure epoch
    UNLEARNED = "unlearned"  # no adapter is left that saw the person
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Erasure:
    """What to accept: one person, or some interactions of one person.

    Attributes:
        request_id: names the request; it is new.
        batch_id: of the batch it belongs to.
        subject: pseudonym of the person.
        plan: pseudonym of what was agreed to be removed.
        user_number: the person's number.
        interactions: numbers of the interactions; None is the whole user.
        digests: their pseudonyms, so that they can be refused when they come again.
        created: milliseconds since 1970 UTC.
        deadline: by when the request must be complete.
    """

    request_id: str
    batch_id: str | None
    subject: str
    plan: str
    user_number: int
    interactions: Sequence[int] | None
    digests: Sequence[str]
    created: int
    deadline: int

    @property
    def scope(self) -> str:
        """``user`` or ``interactions``."""
        return "user" if self.interactions is None else "interactions"


@dataclass(frozen=True, slots=True)
class ForgetRecord:
    """A forget request as the store keeps it. It holds no id of a person: ``removed`` counts rows by kind.

    ``user_number`` is kept until the request is effective, to be able to go on after a crash. ``epoch_after`` is the
    erasure epoch: of the removal from the store. ``times`` says when each state was reached. ``receipt`` is signed
    JSON, the latest revision.
    """

    request_id: str
    batch_id: str | None
    subject: str
    plan: str
    scope: str
    state: ForgetState
    user_number: int | None
    epoch_before: int
    epoch_after: int
    created: int
    deadline: int
    times: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    receipt: str | None = None


Group = Sequence[ForgetRecord]
"""Requests that are carried out together. Each still has its user number."""


@dataclass(frozen=True, slots=True)
class Target:
    """One person of a request: pseudonym, number, and the numbers and pseudonyms of the interactions that would go.

    ``digests`` is empty where the ``whole`` user goes: then nothing of the person is taken again anyway. ``foreign``
    are numbers that the request names, and that are no interactions of this person.
    """

    subject: str
    number: int
    interactions: tuple[int, ...]
    digests: tuple[str, ...]
    foreign: tuple[int, ...] = ()
    whole: bool = True


def is_whole(group: Group) -> bool:
    """Whether everything of everybody in the group was to go; else some of them keep what was not meant."""
    return all(record.scope == "user" for record in group)


def erased_at(group: Group) -> int:
    """The newest erasure epoch of the group."""
    return max(record.epoch_after for record in group)


def deadline_of(group: Group) -> int:
    """By when the group must be complete, in milliseconds since 1970 UTC."""
    return min(record.deadline for record in group)
