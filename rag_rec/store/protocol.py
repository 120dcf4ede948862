"""The seam between the product and its system of record. SQLite and PostgreSQL implement it alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import polars as pl

from rag_rec.domain import Interaction, Item, User
from rag_rec.history import History


class ChangeKind(StrEnum):
    """What a row of the change log says has changed. The reader of the log re-reads the subject's present state."""

    ITEM = "item"
    USER = "user"  # attributes or interactions of a user were added or changed
    FORGET = "forget"  # interactions of a user were removed, or the whole user


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the change log: at ``epoch``, the user or item with this number changed."""

    epoch: int
    kind: ChangeKind
    number: int


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Outcome of appending interactions: rows stored, and rows that were there already."""

    accepted: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of a user's interactions are meant. Conditions are joined by *and*; none at all means every interaction.

    ``before`` is exclusive and ``after`` inclusive, in milliseconds since 1970 UTC.
    """

    item_ids: frozenset[str] = frozenset()
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows the store holds."""

    users: int
    items: int
    interactions: int


@dataclass(frozen=True, slots=True)
class StoredInteraction:
    """An interaction with its number."""

    number: int
    interaction: Interaction


@dataclass(frozen=True, slots=True)
class ForgetRecord:
    """A forget request as the store keeps it. It names nobody: ``removed`` counts rows by kind."""

    request_id: str
    scope: str
    state: str
    epoch_before: int
    epoch_after: int | None
    created: int
    completed: int | None
    removed: Mapping[str, int] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)


class Store(Protocol):
    """System of record. Every write is one transaction that also appends to the change log, or changes nothing.

    The *epoch* is the sequence number of the newest change; it only grows. Methods that write raise ``InvalidInput``
    before anything is written when an argument cannot be stored, and ``UnknownItem`` when an interaction names an item
    that is not in the catalogue. A user who is unknown is created by the first interaction.
    """

    def epoch(self) -> int:
        """Sequence number of the newest change, 0 for an empty store. Cheap: called on every request."""

    def changes(self, after: int) -> list[Change]:
        """Changes with ``epoch > after``, oldest first."""

    def counts(self) -> Counts:
        """Rows of each kind."""

    def events(self) -> Sequence[str]:
        """Event names; the position is the event's code in a history."""

    def put_items(self, items: Sequence[Item]) -> int:
        """Insert or replace items; equal items are left alone. Returns how many were inserted or changed."""

    def put_users(self, users: Sequence[User]) -> int:
        """Insert or replace users; equal users are left alone. Returns how many were inserted or changed."""

    def append(self, interactions: Sequence[Interaction]) -> AppendResult:
        """Append interactions, skipping duplicates."""

    def append_frame(self, frame: pl.DataFrame) -> AppendResult:
        """Append many interactions at once, in row order.

        Columns: user_id str, item_id str, event str, value f64 or null, text str or null, time i64.
        """

    def item(self, item_id: str) -> tuple[int, Item] | None:
        """An item and its number."""

    def items(self, first: int = 0) -> Iterator[Item]:
        """All items from number ``first`` on, in order of their numbers (which have no gaps)."""

    def items_by_number(self, numbers: Sequence[int]) -> list[Item]:
        """The items with these numbers, in this order."""

    def user(self, user_id: str) -> tuple[int, User] | None:
        """A user and their number."""

    def user_by_number(self, number: int) -> User | None:
        """The user with this number, None if there is none (any more)."""

    def interactions(self, user_number: int, numbers: Sequence[int] | None = None) -> list[StoredInteraction]:
        """A user's interactions by (time, number); only the given numbers if there are any."""

    def history(self, user_number: int) -> History:
        """A user's interactions as an array, by (time, number); empty for a number that does not exist."""

    def histories(self) -> Iterator[tuple[int, History]]:
        """The histories of all users that have interactions, by user number. Streams: memory stays bounded."""

    def select(self, user_number: int, selection: Selection) -> list[int]:
        """Numbers of the user's interactions that a selection means."""

    def delete_user(self, user_number: int) -> Counts:
        """Delete a user with every interaction, physically (no byte of them stays in the file). Returns what went."""

    def delete_interactions(self, user_number: int, numbers: Sequence[int]) -> int:
        """Delete some interactions of a user, physically. Returns how many went."""

    def scrub(self) -> None:
        """Make earlier deletions physical: nothing deleted may remain in the database file or its journal."""

    def put_forget_record(self, record: ForgetRecord) -> None:
        """Insert or replace the record of a forget request."""

    def forget_record(self, request_id: str) -> ForgetRecord | None:
        """The record of a forget request."""

    def close(self) -> None:
        """Release connections."""
