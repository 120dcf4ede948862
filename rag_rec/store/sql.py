"""The store over SQLAlchemy Core: the facade over reading, appending, deleting and the change log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import polars as pl

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import Busy
from rag_rec.history import History
from rag_rec.store.appending import append_rows, checked_frame, interaction_frame
from rag_rec.store.catalogue import Catalogue, write_items
from rag_rec.store.database import Database
from rag_rec.store.histories import Histories
from rag_rec.store.journal import Journal
from rag_rec.store.ledger import Checkpoint, Ledger, clear_checkpoint, write_checkpoint, write_record
from rag_rec.store.migration import migrate
from rag_rec.store.people import People, write_users
from rag_rec.store.protocol import AppendResult, Change, Counts, ForgetRecord, Selection, StoredInteraction
from rag_rec.store.removal import remove_interactions, remove_user
from rag_rec.store.scrubbing import scrub
from rag_rec.validation import DEFAULT_LIMITS, Limits, check_interaction, check_item, check_user


def open_store(url: str, limits: Limits = DEFAULT_LIMITS) -> SqlStore:
    """Open a store by its SQLAlchemy URL, creating or upgrading its tables.

    Raises:
        IncompatibleStore: if the database is damaged, something else, or was written by a newer version.
        InvalidInput: if the URL cannot be used.
    """
    database = Database(url)
    try:
        migrate(database)
        with suppress(Busy):  # a crash came between deleting and scrubbing; the next scrub would do it as well
            scrub(database)
    except BaseException:
        database.close()
        raise
    return SqlStore(database, limits)


class SqlStore:
    """Implements :class:`rag_rec.store.protocol.Store` on SQLite and PostgreSQL. Thread-safe.

    Writing methods also take a :class:`Checkpoint` that is stored in the same transaction.
    """

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._journal = Journal(database)
        self._catalogue = Catalogue(database)
        self._people = People(database)
        self._histories = Histories(database)
        self._ledger = Ledger(database)

    def epoch(self) -> int:
        """Sequence number of the newest change."""
        return self._journal.epoch()

    def changes(self, after: int) -> list[Change]:
        """Changes with ``epoch > after``, oldest first."""
        return self._journal.changes(after)

    def counts(self) -> Counts:
        """Rows of each kind."""
        return self._histories.counts()

    def events(self) -> Sequence[str]:
        """Event names by code."""
        return self._histories.events()

    def put_items(self, items: Sequence[Item], checkpoint: Checkpoint | None = None) -> int:
        """Insert or replace items."""
        for item in items:
            check_item(item, self._limits)
        with self._database.writer() as connection:
            changed = write_items(connection, items)
            if checkpoint is not None:
                write_checkpoint(connection, checkpoint.after(AppendResult(changed, len(items) - changed)))
            return changed

    def put_users(self, users: Sequence[User], checkpoint: Checkpoint | None = None) -> int:
        """Insert or replace users."""
        for user in users:
            check_user(user, self._limits)
        with self._database.writer() as connection:
            changed = write_users(connection, users)
            if checkpoint is not None:
                write_checkpoint(connection, checkpoint.after(AppendResult(changed, len(users) - changed)))
            return changed

    def append(self, interactions: Sequence[Interaction]) -> AppendResult:
        """Append interactions, skipping duplicates."""
        for interaction in interactions:
            check_interaction(interaction, self._limits)
        frame = interaction_frame(interactions)
        with self._database.writer() as connection:
            return append_rows(connection, frame)

    def append_frame(self, frame: pl.DataFrame, checkpoint: Checkpoint | None = None) -> AppendResult:
        """Append many interactions at once, in row order.

        The outcome of this batch is added to the ``checkpoint`` that is stored.
        """
        typed = checked_frame(frame, self._limits)
        with self._database.writer() as connection:
            result = append_rows(connection, typed)
            if checkpoint is not None:
                write_checkpoint(connection, checkpoint.after(result))
            return result

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

    def delete_user(self, user_number: int) -> Counts:
        """Delete a user with every interaction."""
        with self._database.writer(durable=True) as connection:
            return remove_user(connection, int(user_number))

    def delete_interactions(self, user_number: int, numbers: Sequence[int]) -> int:
        """Delete some interactions of a user."""
        with self._database.writer(durable=True) as connection:
            return remove_interactions(connection, int(user_number), numbers)

    def scrub(self) -> None:
        """Make earlier deletions physical."""
        scrub(self._database)

    def put_forget_record(self, record: ForgetRecord) -> None:
        """Insert or replace the record of a forget request."""
        with self._database.writer(durable=True) as connection:
            write_record(connection, record)

    def forget_record(self, request_id: str) -> ForgetRecord | None:
        """The record of a forget request."""
        return self._ledger.forget_record(request_id)

    def checkpoint(self, key: str) -> Checkpoint | None:
        """Where an interrupted ingest stopped."""
        return self._ledger.checkpoint(key)

    def clear_checkpoint(self, key: str) -> None:
        """Forget the progress of an ingest that is complete."""
        with self._database.writer() as connection:
            clear_checkpoint(connection, key)

    def close(self) -> None:
        """Release connections."""
        self._database.close()
