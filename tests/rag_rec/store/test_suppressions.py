"""What every store refuses because it was forgotten, and what it takes again."""

from __future__ import annotations

import polars as pl
import pytest

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import Forgotten, UnknownUser
from rag_rec.store import SqlStore
from rag_rec.store.protocol import Store
from rag_rec.store.records import AppendResult, Suppression
from tests.rag_rec.store.erasing import chained, consented, entry_after, erasure_of, forget, numbers_of, tip_of
from tests.rag_rec.store.reference_privacy import PSEUDONYMS

ITEMS = [Item(f"i{n}", f"title {n}") for n in range(5)]


def test_events_of_a_forgotten_person_are_refused_and_counted(filled: Store) -> None:
    forget(filled, "b")
    epoch = filled.epoch()
    rows = [Interaction("b", "no such item", 9, "no such event"), Interaction("b", "i0", 7)]
    assert filled.append(rows) == AppendResult(0, 0, 2)
    assert (filled.epoch(), filled.user("b"), list(filled.events())) == (epoch, None, ["rating"])
    rows = [Interaction("b", "i0", 7), Interaction("a", "i0", 7), Interaction("new", "i0", 7), rows[0]]
    assert filled.append_frame(frame(rows)) == AppendResult(2, 0, 2)
    assert filled.suppressed_events() == 4
    assert filled.append([Interaction("a", "i0", 7)]) == AppendResult(0, 1)
    assert filled.suppressed_events() == 4


def frame(rows: list[Interaction]) -> pl.DataFrame:
    kinds = {"user_id": pl.String, "item_id": pl.String, "event": pl.String, "value": pl.Float64, "text": pl.String}
    columns = {name: [getattr(row, name) for row in rows] for name in [*kinds, "time"]}
    return pl.DataFrame(columns, schema=kinds | {"time": pl.Int64})


def test_a_forgotten_interaction_is_refused_and_others_are_not(filled: Store) -> None:
    numbers = numbers_of(filled, 0)
    forget(filled, "a", [numbers[1]])
    rows = [Interaction("a", "i1", 1, "rating", 3.0, "other words"), Interaction("b", "i1", 1)]
    assert filled.append(rows) == AppendResult(0, 1, 1)
    assert filled.append([Interaction("a", "i1", 2), Interaction("a", "i1", 1, "view")]) == AppendResult(2, 0, 0)
    assert filled.suppressed_events() == 1
    assert filled.put_users([User("a", {"n": 1})]) == 1


def test_a_user_who_is_forgotten_cannot_be_put(filled: Store) -> None:
    forget(filled, "b")
    epoch = filled.epoch()
    with pytest.raises(Forgotten):
        filled.put_users([User("d"), User("b", {"n": 1})])
    assert (filled.epoch(), filled.user("d")) == (epoch, None)
    assert filled.put_users([User("d")]) == 1


def test_consent_opens_a_new_identity_from_then_on(filled: Store) -> None:
    numbers = numbers_of(filled, 1)
    forget(filled, "b", [numbers[4]], "r0")
    subject = forget(filled, "b").subject
    identity = filled.consent(subject, 3, consented)
    assert identity == Suppression(subject, subject, 2, 3)
    assert identity in filled.suppressions([subject])
    assert filled.ledger()[-1] == entry_after(tip_of(filled.ledger()[:-1]), "consent", "2 from 3")
    assert filled.put_users([User("b", {"n": 1})]) == 1
    rows = [Interaction("b", f"i{time}", time) for time in range(5)]
    # What is older than the identity is refused, and so is what was forgotten by itself: time 4.
    assert filled.append(rows) == AppendResult(1, 0, 4)
    found = filled.user("b")
    assert found is not None and found[0] == 3
    assert [stored.interaction.time for stored in filled.interactions(found[0])] == [3]


def test_a_person_can_be_forgotten_again_and_consent_again(filled: Store) -> None:
    subject = forget(filled, "b").subject
    first = filled.consent(subject, 3, consented)
    assert filled.consent(subject, 4, consented) == first
    assert len(filled.ledger()) == 2
    filled.append([Interaction("b", "i0", 5)])
    assert forget(filled, "b", None, "r2").epoch_after == filled.epoch()
    assert filled.suppressions([subject]) == [Suppression(subject, subject, 2, None)]
    assert filled.append([Interaction("b", "i0", 6)]) == AppendResult(0, 0, 1)
    assert filled.consent(subject, 7, consented) == Suppression(subject, subject, 3, 7)


def test_nobody_needs_to_consent_who_was_not_forgotten(filled: Store) -> None:
    numbers = numbers_of(filled, 0)
    erasure = erasure_of(filled, "a", [numbers[0]])
    filled.accept([erasure], chained)
    for subject in (PSEUDONYMS.user("a"), PSEUDONYMS.user("nobody"), erasure.digests[0]):
        with pytest.raises(UnknownUser):
            filled.consent(subject, 1, consented)
    assert len(filled.ledger()) == 1


def test_suppressions_are_those_of_the_people_asked_for(filled: Store) -> None:
    numbers = numbers_of(filled, 2)
    forget(filled, "c", numbers[:2], "r1")
    forget(filled, "a", None, "r2")
    subjects = [PSEUDONYMS.user(user) for user in "abc"]
    found = filled.suppressions([*subjects, subjects[0]])
    assert found == sorted(found, key=lambda row: (row.subject, row.digest))
    assert [row.subject for row in found] == sorted([subjects[0], subjects[2], subjects[2]])
    assert filled.suppressions([subjects[1]]) == filled.suppressions([]) == []


def test_users_of_a_file_are_left_out_if_they_are_forgotten(sql_store: SqlStore) -> None:
    sql_store.put_items(ITEMS)
    sql_store.append([Interaction(user, "i0", 1) for user in "ab"])
    assert sql_store.admit_users([User("a", {"n": 1}), User("b")]) == AppendResult(1, 1, 0)
    forget(sql_store, "b")
    users = [User("a", {"n": 2}), User("b", {"n": 2}), User("c"), User("b")]
    assert sql_store.admit_users(users) == AppendResult(2, 0, 2)
    assert sql_store.user("b") is None
    assert sql_store.suppressed_events() == 0
    sql_store.consent(PSEUDONYMS.user("b"), 5, consented)
    assert sql_store.admit_users(users[1:2]) == AppendResult(1, 0, 0)
