"""The seam between the saga and its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rag_rec.layers.finding import Finding, Layer, Status
from rag_rec.store.records import ForgetRecord

Group = Sequence[ForgetRecord]
"""Requests that are carried out together. Each still has its user number."""


class Step(Protocol):
    """One step. ``act`` removes; ``verify`` looks, on its own and whatever ``act`` said, whether anything is left."""

    name: str

    def act(self, group: Group) -> None:
        """Remove what the group means from this step's layers. Running it again does no harm."""

    def verify(self, group: Group) -> Sequence[Finding]:
        """What is left in this step's layers, of anybody in the group."""


def found(layer: Layer, gone: bool, proof: str, rest: str, until: int, **detail: str | int | float | None) -> Finding:
    """PROVEN with ``proof`` where nothing is left, else PENDING with ``rest``, which says what is there still."""
    if gone:
        return Finding(layer, Status.PROVEN, proof, None, detail)
    return Finding(layer, Status.PENDING, rest, until, detail)


def is_whole(group: Group) -> bool:
    """Whether everything of everybody in the group was to go; else some of them keep what was not meant."""
    return all(record.scope == "user" for record in group)


def erased_at(group: Group) -> int:
    """The newest erasure epoch of the group."""
    return max(record.epoch_after for record in group)


def deadline_of(group: Group) -> int:
    """By when the group must be complete, in milliseconds since 1970 UTC."""
    return min(record.deadline for record in group)
