"""The seam between the product and its system of record. SQLite and PostgreSQL implement it alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import polars as pl

from rag_rec.domain import Interaction, Item, User
from rag_rec.events.history import History
from rag_rec.layers.records import Erasure, ForgetRecord
from rag_rec.store.records import (
    AppendResult,
    Change,
    Counts,
    Debt,
    EventCount,
    Hold,
    LedgerEntry,
    LedgerTip,
    MeasuredRemoval,
    Place,
    Replica,
    Selection,
    ServiceProcess,
    StoredInteraction,
    Suppression,
)

Accepted = Callable[[LedgerTip, Sequence[ForgetRecord]], Sequence[LedgerEntry]]
"""Writes the entries of newly accepted requests, to follow the tip."""

Compose = Callable[[LedgerTip], tuple[Sequence[LedgerEntry], Sequence[ForgetRecord]]]
"""Writes entries to follow the tip, and the records that change with them."""


class Store(Protocol):
    """System of record. Every write is one transaction that also appends to the change log, or changes nothing.

    The *epoch* is the sequence number of the newest change; it only grows. Methods that write raise ``InvalidInput``
    before anything is written when an argument cannot be stored, and ``UnknownItem`` when an interaction names an item
    that is not in the catalogue. A user who is unknown is created by the first interaction. As soon as a person
    has been forgotten or held, whoever writes people's data without the key that recognises them gets ``WrongKey``.
    """

    def identity(self) -> str:
        """The random id of this store, made once with it. A store that is restored from a backup has the backup's."""

    def epoch(self) -> int:
        """Sequence number of the newest change, 0 for an empty store. Cheap: called on every request."""

    def changes(self, after: int) -> list[Change]:
        """Changes with ``epoch > after``, oldest first."""

    def removals(self, after: int) -> Mapping[int, int] | None:
        """Of everybody of whom something was removed after an epoch, by user number, the newest epoch of that.

        None where the change log does not go back so far: the store was restored from a backup since.
        """

    def counts(self) -> Counts:
        """Rows of each kind."""

    def events(self) -> Sequence[str]:
        """Event names; the position is the event's code in a history."""

    def event_counts(self, minimum: Mapping[str, float]) -> list[EventCount]:
        """How many interactions carry each event, by code; ``minimum`` is the value that is asked for, by event. Reads
        every interaction once."""

    def put_items(self, items: Sequence[Item]) -> int:
        """Insert or replace items; equal items are left alone. Returns how many were inserted or changed."""

    def put_users(self, users: Sequence[User]) -> int:
        """Insert or replace users; equal users are left alone. Returns how many were inserted or changed.

        Raises:
            Forgotten: one of them has been forgotten and has not consented to a new identity; nothing is written.
        """

    def append(self, interactions: Sequence[Interaction]) -> AppendResult:
        """Append interactions, skipping duplicates and refusing what has been forgotten."""

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

    def scrub(self) -> None:
        """Make earlier deletions physical: nothing deleted may remain in the database file or its journal."""

    def scrub_pending(self) -> bool:
        """Whether something was deleted since the last scrub."""

    def erasure_epoch(self) -> int:
        """The newest epoch at which something was removed, 0 if never. Cheap: called for every answer."""

    def accept(self, erasures: Sequence[Erasure], ledger: Accepted) -> list[ForgetRecord]:
        """Accept requests and delete what they mean, in one durable transaction.

        Writes the records (state HIDDEN), the change log (FORGET), the suppression list, the debts to adapters that saw
        the person, and the ledger's entries, and takes the person out of every lineage.

        Raises:
            LegalHold: a person may not be forgotten.
            PlanChanged: a person, or an interaction that was to go, is not there any more, or a person is named twice.
            BrokenLedger: the new entries do not follow the tip.
        """

    def extend_ledger(self, compose: Compose) -> None:
        """Append entries to the ledger and replace records, in one durable transaction.

        Raises:
            BrokenLedger: the new entries do not follow the tip.
        """

    def ledger(self, after: int = 0) -> list[LedgerEntry]:
        """Entries with ``sequence > after``, in order."""

    def newest_entry(self) -> LedgerEntry | None:
        """The end of the ledger, None while it is empty."""

    def ledger_entry(self, sequence: int) -> LedgerEntry | None:
        """The entry of this number, None if there is none."""

    def forget_record(self, request_id: str) -> ForgetRecord | None:
        """The record of a forget request."""

    def forget_records(
        self,
        *,
        plan: str | None = None,
        batch_id: str | None = None,
        subject: str | None = None,
        pending: bool = False,
        newest: int | None = None,
    ) -> list[ForgetRecord]:
        """Records, oldest first, those of a batch in the order in which it named its people: of one plan, of one batch,
        of one person, only those that are not complete, or only the ``newest`` so many."""

    def suppressions(self, subjects: Sequence[str]) -> list[Suppression]:
        """What is refused of these people."""

    def suppressed_events(self) -> int:
        """How many events were refused so far because a person had been forgotten."""

    def consent(self, subject: str, time: int, ledger: Callable[[LedgerTip, Suppression], LedgerEntry]) -> Suppression:
        """Open a new identity for a forgotten person: events from ``time`` on are taken again.

        An identity that is open stays as it is, and no entry is written.

        Raises:
            UnknownUser: this person is not suppressed.
        """

    def put_hold(self, hold: Hold) -> None:
        """Insert or replace a legal hold."""

    def drop_hold(self, subject: str) -> bool:
        """Lift a legal hold. Returns whether there was one."""

    def holds(self) -> list[Hold]:
        """All legal holds, by time."""

    def beat(self, replica: Replica) -> None:
        """Insert or replace what a live replica says of itself."""

    def leave(self, replica_id: str) -> None:
        """Take a replica off the list."""

    def replicas(self) -> list[Replica]:
        """All replicas on the list, by id."""

    def renew(self, replica: Replica) -> bool:
        """Replace what a live replica says of itself. False, and nothing is written, if it is not on the list any more:
        others have stopped waiting for it."""

    def drop_silent(self, replica: Replica) -> None:
        """Take a replica off the list, unless it was heard of since it was read."""

    def put_place(self, place: Place) -> None:
        """Insert or replace a place."""

    def places(self) -> list[Place]:
        """All places, retired ones too, by id."""

    def retire_place(
        self, place_id: str, time: int, reason: str, ledger: Callable[[LedgerTip, Place], LedgerEntry]
    ) -> Place:
        """Take a place out of use, and drop the debts of the adapters that only it has, with an entry of the ledger.

        Raises:
            UnknownPlace: there is no place of this id that is in use.
        """

    def put_process(self, process: ServiceProcess) -> None:
        """Put a process that answers from memory on the list."""

    def mark_processes(self, ids: Sequence[str], *, ended: bool, seen: int) -> None:
        """Note that processes have ended, or were seen running at ``seen`` (milliseconds)."""

    def drop_processes(self, ids: Sequence[str]) -> None:
        """Take processes off the list."""

    def processes(self) -> list[ServiceProcess]:
        """The processes that answer from memory, by the epoch at which they began."""

    def waiting_for_processes(self, until: int, most: int) -> list[str]:
        """Ids of requests with an erasure epoch of at most ``until`` whose receipts wait for processes to end."""

    def put_lineage(
        self, adapter: str, users: Mapping[int, int], epoch: int, measured: Mapping[str, str] | None = None
    ) -> None:
        """Record whom an adapter saw: how many interactions, by user number, as of ``epoch``. Replaces what was there.

        It also settles the adapter's debts: trained after every removal, it is what it would be without the forgotten.
        Where it was not, ``measured`` says of which requests, and what was measured of each (JSON).

        Raises:
            Busy: something was removed from the store since that epoch; the adapter must not be used.
        """

    def lineage(self, adapter: str) -> dict[int, int]:
        """Whom an adapter saw: how many interactions, by user number."""

    def has_lineage(self, adapter: str) -> bool:
        """Whether it is recorded of any person that an adapter saw them. Cheap, however many there are."""

    def adapters_of(self, user_number: int) -> list[str]:
        """The adapters that saw a user, sorted."""

    def drop_lineage(self, adapters: Sequence[str]) -> None:
        """Forget the lineage, the debts and the measured removals of adapters that do not exist any more."""

    def measured_removals(self) -> list[MeasuredRemoval]:
        """Removals that are not exact, by (request, adapter), of all adapters that there are."""

    def debts(self, request_id: str | None = None) -> list[Debt]:
        """Debts by (request, adapter): all, or one request's."""

    def check(self) -> None:
        """Raise ``StoreLost`` unless this still is the store that was opened. Cheap."""

    def renew_connections(self) -> None:
        """Let go of what connections remember of earlier reads and writes, such as pages and the values asked for."""

    def close(self) -> None:
        """Release connections."""
