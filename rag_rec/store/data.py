"""The part of the store that recommendations are made of: catalogue, people, interactions, and the change log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from rag_rec.domain import Interaction, Item, User
from rag_rec.events.history import History
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.store.admission import admitted_rows, admitted_users, check_admitted
from rag_rec.store.appending import append_rows, checked_frame, interaction_frame
from rag_rec.store.catalogue import Catalogue, write_items
from rag_rec.store.checkpoints import Checkpoint, Checkpoints, clear_checkpoint, write_checkpoint
from rag_rec.store.database import Database
from rag_rec.store.histories import Histories
from rag_rec.store.journal import Journal
from rag_rec.store.people import People, write_users
from rag_rec.store.records import AppendResult, Change, Counts, EventCount, Selection, StoredInteraction
from rag_rec.validation import Limits, check_interaction, check_item, check_user


class SqlData:
    """Reads and writes what the algorithms work on.

    Writing methods also take a :class:`Checkpoint` that is stored in the same transaction.
    """

    def __init__(self, database: Database, limits: Limits, pseudonyms: Pseudonyms | None) -> None:
        self._database = database
        self._limits = limits
        self._pseudonyms = pseudonyms
        self._journal = Journal(database)
        self._catalogue = Catalogue(database)
        self._people = People(database)
        self._histories = Histories(database)
        self._checkpoints = Checkpoints(database)

    def epoch(self) -> int:
        """Sequence number of the newest change."""
        return self._journal.epoch()

    def changes(self, after: int) -> list[Change]:
        """Changes with ``epoch > after``, oldest first."""
        return self._journal.changes(after)

    def removals(self, after: int) -> Mapping[int, int] | None:
        """Of everybody of whom something was removed after an epoch, the newest epoch of that; None where the change
        log does not go back so far."""
        return self._journal.removals(after)

    def counts(self) -> Counts:
        """Rows of each kind."""
        return self._histories.counts()

    def events(self) -> Sequence[str]:
        """Event names by code."""
        return self._histories.events()

    def event_counts(self, minimum: Mapping[str, float]) -> list[EventCount]:
        """How many interactions carry each event."""
        return self._histories.event_counts(minimum)

    def put_items(self, items: Sequence[Item], checkpoint: Checkpoint | None = None) -> int:
        """Insert or replace items."""
        for item in items:
            check_item(item, self._limits)
        with self._database.writer() as connection:
            changed = write_items(connection, items)
            if checkpoint is not None:
                write_checkpoint(connection, checkpoint.after(AppendResult(changed, len(items) - changed)))
            return changed

    def put_users(self, users: Sequence[User]) -> int:
        """Insert or replace users. Raises ``Forgotten``, and writes nothing, if one of them has been forgotten."""
        for user in users:
            check_user(user, self._limits)
        with self._database.writer() as connection:
            check_admitted(connection, users, self._pseudonyms)
            return write_users(connection, users)

    def admit_users(self, users: Sequence[User], checkpoint: Checkpoint | None = None) -> AppendResult:
        """Insert or replace users, leaving out those who have been forgotten: one of them must not stop a file."""
        for user in users:
            check_user(user, self._limits)
        with self._database.writer() as connection:
            admitted = admitted_users(connection, users, self._pseudonyms)
            changed = write_users(connection, admitted)
            result = AppendResult(changed, len(admitted) - changed, len(users) - len(admitted))
            if checkpoint is not None:
                write_checkpoint(connection, checkpoint.after(result))
            return result

    def append(self, interactions: Sequence[Interaction]) -> AppendResult:
        """Append interactions, skipping duplicates and refusing what has been forgotten."""
        for interaction in interactions:
            check_interaction(interaction, self._limits)
        return self._append(interaction_frame(interactions), None)

    def append_frame(self, frame: pl.DataFrame, checkpoint: Checkpoint | None = None) -> AppendResult:
        """Append many interactions at once, in row order.

        The outcome of this batch is added to the ``checkpoint`` that is stored.
        """
        return self._append(checked_frame(frame, self._limits), checkpoint)

    def item(self, item_id: str) -> tuple[int, Item] | None:
        """An item and its number."""
        return self._catalogue.item(item_id)

    def items(self, first: int = 0) -> Iterator[Item]:
        """All items from a number on."""
        return self._catalogue.items(first)

    def items_by_number(self, numbers: Sequence[int]) -> list[Item]:
        """The items with these numbers, in this order."""
        return self._catalogue.items_by_number(numbers)

    def known_items(self, ids: Sequence[str]) -> set[str]:
        """Those of some item ids that are in the catalogue."""
        return self._catalogue.known(ids)

    def user(self, user_id: str) -> tuple[int, User] | None:
        """A user and their number."""
        return self._people.user(user_id)

    def user_by_number(self, number: int) -> User | None:
        """The user with this number."""
        return self._people.user_by_number(number)

    def interactions(self, user_number: int, numbers: Sequence[int] | None = None) -> list[StoredInteraction]:
        """A user's interactions by (time, number)."""
        return self._histories.interactions(user_number, numbers)

    def history(self, user_number: int) -> History:
        """A user's interactions as an array, by (time, number)."""
        return self._histories.history(user_number)

    def histories(self) -> Iterator[tuple[int, History]]:
        """The histories of all users that have interactions, by user number."""
        return self._histories.histories()

    def select(self, user_number: int, selection: Selection) -> list[int]:
        """Numbers of the user's interactions that a selection means."""
        return self._histories.select(user_number, selection)

    def checkpoint(self, key: str) -> Checkpoint | None:
        """Where an interrupted ingest stopped."""
        return self._checkpoints.checkpoint(key)

    def clear_checkpoint(self, key: str) -> None:
        """Forget the progress of an ingest that is complete."""
        with self._database.writer() as connection:
            clear_checkpoint(connection, key)

    def _append(self, frame: pl.DataFrame, checkpoint: Checkpoint | None) -> AppendResult:
        with self._database.writer() as connection:
            admitted = admitted_rows(connection, frame, self._pseudonyms)
            result = replace(append_rows(connection, admitted), suppressed=len(frame) - len(admitted))
            if checkpoint is not None:
                write_checkpoint(connection, checkpoint.after(result))
            return result
