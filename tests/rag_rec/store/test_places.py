"""Data folders on the list of a store, and what was removed since an epoch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag_rec.domain import Interaction
from rag_rec.errors import UnknownPlace
from rag_rec.store import SqlStore
from rag_rec.store.archive import clear, opened, read_counters, write_counters
from rag_rec.store.identity import peek_identity, replace_identity
from rag_rec.store.protocol import Store
from rag_rec.store.records import Debt, LedgerEntry, LedgerTip, Place, Replica
from tests.rag_rec.store.erasing import entry_after, forget

ONE = Place("p1", "web-1/ab", "/data/one", 3, 1000, ("a1", "a2"))
TWO = Place("p2", "web-2/cd", "/data/two", -1, 0)


def entry(tip: LedgerTip, place: Place) -> LedgerEntry:
    return entry_after(tip, kind="retirement", body=f'{{"place":"{place.id}"}}')


def test_places_are_listed_by_id_and_replaced(store: Store) -> None:
    assert store.places() == []
    store.put_place(TWO)
    store.put_place(ONE)
    assert store.places() == [ONE, TWO]
    store.put_place(newer := replace(TWO, epoch=7, seen=5, path="/moved"))
    assert store.places() == [ONE, newer]


def test_a_place_is_retired_once_with_an_entry_of_the_ledger(store: Store) -> None:
    store.put_place(ONE)
    retired = store.retire_place("p1", 2000, "gone", entry)
    assert retired == replace(ONE, retired=2000, reason="gone")
    assert store.places() == [retired]
    assert [each.kind for each in store.ledger()] == ["retirement"]
    for unknown in ("p1", "p9"):
        with pytest.raises(UnknownPlace):
            store.retire_place(unknown, 2000, "gone", entry)
    assert len(store.ledger()) == 1


def test_what_only_a_retired_place_had_owes_nothing_any_more(filled: Store) -> None:
    for adapter in ("a1", "a2", "a3"):
        filled.put_lineage(adapter, {1: 5}, filled.epoch())
    filled.put_place(ONE)
    filled.put_place(replace(TWO, adapters=("a2",)))
    forget(filled, "b")
    filled.retire_place("p1", 2000, "gone", entry)
    assert filled.debts() == [Debt("r1", "a2"), Debt("r1", "a3")]


def test_what_only_a_retired_place_had_suppresses_nobody_any_more(filled: Store) -> None:
    for adapter in ("a1", "a2"):
        filled.put_lineage(adapter, {1: 5}, filled.epoch(), {"r1": "{}"})
    filled.put_place(ONE)
    filled.put_place(replace(TWO, adapters=("a2",)))
    filled.retire_place("p1", 2000, "gone", entry)
    assert [each.adapter for each in filled.measured_removals()] == ["a2"]


def test_removals_are_told_by_user_with_the_newest_epoch(filled: Store) -> None:
    assert filled.removals(0) == {}
    forget(filled, "b")
    first = filled.epoch()
    filled.append([Interaction("a", "i0", 99)])
    forget(filled, "a", request_id="r2")
    assert filled.removals(0) == {1: first, 0: first + 2}
    assert filled.removals(first) == {0: first + 2}
    assert filled.removals(filled.epoch()) == {}


def test_what_was_removed_before_a_restore_cannot_be_told(sql_store: SqlStore, store_url: str) -> None:
    with opened(store_url) as database, database.writer() as connection:
        values, known = read_counters(connection), peek_identity(connection)
        clear(connection)
        replace_identity(connection, known)
        write_counters(connection, values | {"epoch": 20, "erasure": 20})
    assert sql_store.removals(19) is None
    assert sql_store.removals(20) == {}


def test_a_sign_of_life_of_a_replica_that_is_not_on_the_list_is_refused(store: Store) -> None:
    replica = Replica("r", "host", 1, 3, 1000)
    assert not store.renew(replica)
    assert store.replicas() == []
    store.beat(replica)
    newer = replace(replica, epoch=5, seen=2000)
    assert store.renew(newer)
    assert store.replicas() == [newer]
    store.drop_silent(replica)  # as it was read, before it was heard of again
    assert store.replicas() == [newer]
    store.drop_silent(newer)
    assert store.replicas() == []
