"""Accepts forget requests: everything that makes them binding, in the caller's one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from rag_rec.clock import now_ms
from rag_rec.errors import PlanChanged
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.layers.records import Erasure, ForgetRecord
from rag_rec.store.chain import append_entries, tip
from rag_rec.store.holds import check_no_hold
from rag_rec.store.journal import peek
from rag_rec.store.lineage import incur_debts
from rag_rec.store.part import Part
from rag_rec.store.protocol import Accepted
from rag_rec.store.removal import present_users, record_removal, remove_rows, remove_users
from rag_rec.store.requests import accepted, write_records
from rag_rec.store.seals import seal
from rag_rec.store.suppressions import suppress


class Acceptance(Part):
    """Accepts forget requests."""

    def accept(self, erasures: Sequence[Erasure], ledger: Accepted) -> list[ForgetRecord]:
        """Delete what the requests mean and write down that, and why, it is gone; each person may be named once.

        Raises:
            LegalHold: a person may not be forgotten.
            PlanChanged: a person, or an interaction that was to go, is not there any more.
            WrongKey: there is no pseudonym key, or not the one that the store was written with.
        """
        with self._database.writer() as connection:
            return _accept(connection, erasures, ledger, self._pseudonyms) if erasures else []


def _accept(
    connection: Connection, erasures: Sequence[Erasure], ledger: Accepted, pseudonyms: Pseudonyms | None
) -> list[ForgetRecord]:
    seal(connection, pseudonyms)
    check_no_hold(connection, [erasure.subject for erasure in erasures])
    _check_present(connection, erasures)
    before = peek(connection, "epoch")
    gone = _remove(connection, erasures)
    record_removal(connection, [erasure.user_number for erasure in erasures])
    suppress(connection, erasures)
    incur_debts(connection, erasures)
    records = _records(erasures, gone, before)
    write_records(connection, records)
    end = tip(connection)
    append_entries(connection, end, ledger(end, records))
    return records


def _check_present(connection: Connection, erasures: Sequence[Erasure]) -> None:
    numbers = [erasure.user_number for erasure in erasures]
    if len(present_users(connection, numbers)) < len(numbers):
        raise PlanChanged("Somebody who was to be forgotten is not there any more. Ask for a new plan; nothing went.")


def _remove(connection: Connection, erasures: Sequence[Erasure]) -> dict[int, int]:
    """Delete, and count interactions by user."""
    gone = remove_users(connection, [erasure.user_number for erasure in erasures if erasure.interactions is None])
    for erasure in erasures:
        if erasure.interactions is not None:
            gone[erasure.user_number] = _remove_rows(connection, erasure.user_number, erasure.interactions)
    return gone


def _remove_rows(connection: Connection, user_number: int, numbers: Sequence[int]) -> int:
    wanted = sorted(set(numbers))
    gone = remove_rows(connection, user_number, wanted)
    if gone < len(wanted):
        raise PlanChanged("An interaction that was to go is not there any more. Ask for a new plan; nothing went.")
    return gone


def _records(erasures: Sequence[Erasure], gone: Mapping[int, int], before: int) -> list[ForgetRecord]:
    hidden = now_ms()
    removed = [{"users": int(each.interactions is None), "interactions": gone[each.user_number]} for each in erasures]
    return [
        accepted(erasure, before, epoch, hidden, rows)
        for epoch, (erasure, rows) in enumerate(zip(erasures, removed, strict=True), before + 1)
    ]
