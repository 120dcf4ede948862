"""The suppression list: people and interactions that may not come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rag_rec.errors import UnknownUser
from rag_rec.layers.records import Erasure
from rag_rec.store.chain import append_entries, tip
from rag_rec.store.database import chunks
from rag_rec.store.part import Part
from rag_rec.store.records import LedgerEntry, LedgerTip, Suppression
from rag_rec.store.schema import suppressions

_mine = suppressions.c
_OF_SUBJECT = select(*_mine).where(_mine.subject == bindparam("key")).order_by(_mine.digest)


def suppress(connection: Connection, erasures: Sequence[Erasure]) -> None:
    """Put what was erased on the list. A person who had consented to a new identity is forgotten again."""
    whole = [erasure.subject for erasure in erasures if erasure.interactions is None]
    _withdraw_consent(connection, whole)
    listed = [Suppression(subject, subject) for subject in whole]
    listed += [Suppression(digest, erasure.subject) for erasure in erasures for digest in _rows_of(erasure)]
    _insert_missing(connection, listed)


def suppressions_of(connection: Connection, subjects: Sequence[str]) -> list[Suppression]:
    """What is refused of these people."""
    return [
        Suppression(*row)
        for part in chunks(subjects)
        for row in connection.execute(select(*_mine).where(_mine.subject.in_(part)))
    ]


class Suppressions(Part):
    """The list of those who may not come back."""

    def suppressions(self, subjects: Sequence[str]) -> list[Suppression]:
        """What is refused of these people, by (subject, digest)."""
        rows = (self._database.rows(_OF_SUBJECT, key=subject) for subject in sorted(set(subjects)))
        return [Suppression(*row) for found in rows for row in found]

    def consent(self, subject: str, time: int, ledger: Callable[[LedgerTip, Suppression], LedgerEntry]) -> Suppression:
        """Open a new identity for a forgotten person; one that is open already stays as it is, without an entry.

        Raises:
            UnknownUser: this person is not suppressed.
        """
        with self._database.writer() as connection:
            identity, new = _grant(connection, subject, time)
            if new:
                end = tip(connection)
                append_entries(connection, end, [ledger(end, identity)])
            return identity


def _grant(connection: Connection, subject: str, time: int) -> tuple[Suppression, bool]:
    """Open a new identity from ``time`` on, and say whether it is new; one that is open is left as it is."""
    row = connection.execute(select(*_mine).where(_mine.digest == subject, _mine.subject == subject)).one_or_none()
    if row is None:
        raise UnknownUser("This person has not been forgotten, so that no consent is needed; nothing was changed.")
    present = Suppression(*row)
    if present.consented is not None:
        return present, False
    opened = replace(present, identity=present.identity + 1, consented=int(time))
    connection.execute(delete(suppressions).where(_mine.digest == subject))
    connection.execute(insert(suppressions), asdict(opened))
    return opened, True


def _rows_of(erasure: Erasure) -> Sequence[str]:
    return () if erasure.interactions is None else erasure.digests


def _withdraw_consent(connection: Connection, subjects: Sequence[str]) -> None:
    for part in chunks(subjects):
        connection.execute(update(suppressions).where(_mine.digest.in_(part)).values(consented=None))


def _insert_missing(connection: Connection, listed: Sequence[Suppression]) -> None:
    by_digest = {entry.digest: entry for entry in listed}
    for part in chunks(list(by_digest)):
        for digest in connection.execute(select(_mine.digest).where(_mine.digest.in_(part))).scalars():
            del by_digest[digest]
    if by_digest:
        connection.execute(insert(suppressions), [asdict(entry) for entry in by_digest.values()])
