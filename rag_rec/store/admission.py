"""Keeps the forgotten out: what may be written of the people and events that arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl
from sqlalchemy import Connection

from rag_rec.domain import Interaction, User
from rag_rec.errors import Forgotten
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.store.appending import append_rows, checked_frame, interaction_frame
from rag_rec.store.checkpoints import Checkpoint, write_checkpoint
from rag_rec.store.earlier import earlier_form
from rag_rec.store.journal import take
from rag_rec.store.part import Part
from rag_rec.store.people import write_users
from rag_rec.store.records import AppendResult, Suppression
from rag_rec.store.seals import recognising
from rag_rec.store.suppressions import suppressions_of
from rag_rec.validation import check_interaction, check_user


def admitted_rows(connection: Connection, frame: pl.DataFrame, pseudonyms: Pseudonyms | None) -> pl.DataFrame:
    """The interactions without those of forgotten people and those that were forgotten one by one, which are counted.

    Raises:
        WrongKey: a person was suppressed or held, and this process cannot recognise them.
    """
    key = recognising(connection, pseudonyms)
    if key is None or frame.is_empty():
        return frame
    listed = _listed(connection, frame["user_id"].unique().to_list(), key)
    if not listed:
        return frame
    kept = _without_rows(_without_people(frame, listed), listed, key)
    take(connection, "suppressed", len(frame) - len(kept))
    return kept


def admitted_users(connection: Connection, users: Sequence[User], pseudonyms: Pseudonyms | None) -> list[User]:
    """The users without those who are forgotten. Raises ``WrongKey`` as :func:`admitted_rows` does."""
    key = recognising(connection, pseudonyms)
    if key is None:
        return list(users)
    listed = _listed(connection, list({user.id for user in users}), key)
    gone = {user_id for user_id, entries in listed.items() if _gone(entries)}
    return [user for user in users if user.id not in gone]


class Admission(Part):
    """Writes people and their events. What has been forgotten is left out."""

    def put_users(self, users: Sequence[User]) -> int:
        """Insert or replace users. Raises ``Forgotten``, and writes nothing, if one of them has been forgotten."""
        for user in users:
            check_user(user, self._limits)
        with self._database.writer() as connection:
            if len(admitted_users(connection, users, self._pseudonyms)) < len(users):
                raise Forgotten(
                    "A person was forgotten and may not be stored again; nothing was changed. If they have come back "
                    "by their own will, record their consent first."
                )
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

    def _append(self, frame: pl.DataFrame, checkpoint: Checkpoint | None) -> AppendResult:
        with self._database.writer() as connection:
            admitted = admitted_rows(connection, frame, self._pseudonyms)
            result = replace(append_rows(connection, admitted), suppressed=len(frame) - len(admitted))
            if checkpoint is not None:
                write_checkpoint(connection, checkpoint.after(result))
            return result


def _listed(connection: Connection, user_ids: Sequence[str], key: Pseudonyms) -> dict[str, list[Suppression]]:
    """What is suppressed, by the ids of those of some people of whom something is."""
    ids = {key.user(user_id): user_id for user_id in user_ids}
    listed: dict[str, list[Suppression]] = {}
    for entry in suppressions_of(connection, list(ids)):
        listed.setdefault(ids[entry.subject], []).append(entry)
    return listed


def _person(entries: Sequence[Suppression]) -> Suppression | None:
    """The entry that means the whole person."""
    return next((entry for entry in entries if entry.digest == entry.subject), None)


def _gone(entries: Sequence[Suppression]) -> bool:
    person = _person(entries)
    return person is not None and person.consented is None


def _without_people(frame: pl.DataFrame, listed: dict[str, list[Suppression]]) -> pl.DataFrame:
    """The frame without people who are forgotten, and without what is older than an identity."""
    people = {user_id: person for user_id, entries in listed.items() if (person := _person(entries))}
    if not people:
        return frame
    gone = [user_id for user_id, person in people.items() if person.consented is None]
    begun = {user_id: person.consented for user_id, person in people.items()}
    since = pl.col("user_id").replace_strict(list(begun), list(begun.values()), default=None, return_dtype=pl.Int64)
    return frame.filter(~pl.col("user_id").is_in(gone) & (pl.col("time") >= since).fill_null(value=True))


def _without_rows(frame: pl.DataFrame, listed: dict[str, list[Suppression]], key: Pseudonyms) -> pl.DataFrame:
    """The frame without the interactions that were forgotten one by one."""
    refused = {entry.digest for entries in listed.values() for entry in entries if entry.digest != entry.subject}
    if not refused:
        return frame
    touched = frame.with_row_index("at").filter(pl.col("user_id").is_in(list(listed)))
    rows = touched.select("at", "user_id", "item_id", "time", "event", "value").iter_rows()
    dropped = [at for at, *row in rows if _is_refused(Interaction(*row), refused, key)]
    return frame.with_row_index("at").filter(~pl.col("at").is_in(dropped)).drop("at")


def _is_refused(row: Interaction, refused: set[str], key: Pseudonyms) -> bool:
    """Whether an interaction was forgotten, under its own event or under that of an earlier version."""
    earlier = earlier_form(row)
    return key.interaction(row) in refused or (earlier is not None and key.interaction(earlier) in refused)
