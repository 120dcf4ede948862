"""What every store does alike for people who are forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import BrokenLedger, Busy, LegalHold, PlanChanged
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.store.protocol import Store
from rag_rec.store.records import (
    AppendResult,
    Change,
    ChangeKind,
    Counts,
    Debt,
    Hold,
    LedgerEntry,
    LedgerTip,
    MeasuredRemoval,
    Replica,
    ServiceProcess,
    Suppression,
)
from tests.rag_rec.store.erasing import chained, entry_after, erasure_of, forget, numbers_of, tip_of
from tests.rag_rec.store.reference_privacy import PSEUDONYMS
from tests.rag_rec.store.removing import delete_interactions, delete_user

ITEMS = [Item(f"i{n}", f"title {n}") for n in range(5)]
EMPTY = LedgerTip(0, "0" * 64)


def test_a_new_store_has_forgotten_nobody(store: Store) -> None:
    assert store.erasure_epoch() == 0
    assert store.suppressed_events() == 0
    assert not store.scrub_pending()
    assert store.ledger() == []
    assert store.forget_record("r1") is None
    assert store.forget_records() == store.forget_records(pending=True) == []
    assert store.suppressions([PSEUDONYMS.user("a")]) == []
    assert store.holds() == [] and store.replicas() == [] and store.debts() == []
    assert store.accept([], chained) == []
    assert (store.epoch(), store.erasure_epoch(), store.ledger()) == (0, 0, [])


def test_accepting_a_user_does_all_of_it_at_once(filled: Store) -> None:
    record = forget(filled, "b")
    assert record == replace(
        ForgetRecord("r1", None, PSEUDONYMS.user("b"), "plan of r1", "user", ForgetState.HIDDEN, 1, 8, 9, 1000, 2000),
        times=record.times,
        removed={"users": 1, "interactions": 5},
    )
    assert list(record.times) == ["accepted", "hidden"] and record.times["accepted"] == 1000
    assert filled.forget_record("r1") == record
    assert filled.user("b") is None and filled.user_by_number(1) is None
    assert filled.counts() == Counts(2, 5, 10)
    assert filled.changes(8) == [Change(9, ChangeKind.FORGET, 1)]
    assert filled.erasure_epoch() == 9
    assert filled.suppressions([record.subject]) == [Suppression(record.subject, record.subject)]
    assert filled.ledger() == chained(EMPTY, [record])
    assert filled.scrub_pending()
    filled.scrub()
    assert not filled.scrub_pending()
    assert filled.forget_record("r1") == record


def test_accepting_some_interactions_leaves_the_rest(filled: Store) -> None:
    numbers = numbers_of(filled, 0)
    erasure = erasure_of(filled, "a", [numbers[3], numbers[1], numbers[1]])
    (record,) = filled.accept([erasure], chained)
    assert (record.scope, record.removed) == ("interactions", {"users": 0, "interactions": 2})
    assert numbers_of(filled, 0) == [numbers[0], numbers[2], numbers[4]]
    assert filled.user("a") == (0, User("a"))
    assert filled.changes(8) == [Change(9, ChangeKind.FORGET, 0)]
    expected = sorted({Suppression(digest, record.subject) for digest in erasure.digests}, key=lambda row: row.digest)
    assert filled.suppressions([record.subject]) == expected
    assert len(expected) == 2


def test_a_batch_is_one_transaction_with_an_epoch_for_each_person(filled: Store) -> None:
    erasures = [erasure_of(filled, user, None, f"r{user}", "batch") for user in "ca"]
    records = filled.accept(erasures, chained)
    assert [(record.user_number, record.epoch_before, record.epoch_after) for record in records] == [
        (2, 8, 9),
        (0, 8, 10),
    ]
    assert filled.changes(8) == [Change(9, ChangeKind.FORGET, 2), Change(10, ChangeKind.FORGET, 0)]
    assert filled.erasure_epoch() == filled.epoch() == 10
    assert [entry.body for entry in filled.ledger()] == ["rc", "ra"]
    assert filled.forget_records(batch_id="batch") == records
    assert filled.forget_records(batch_id="other") == []


def unchanged(store: Store) -> bool:
    """Whether nothing of what acceptance writes is there."""
    return (
        (store.epoch(), store.erasure_epoch(), store.counts()) == (8, 0, Counts(3, 5, 15))
        and store.ledger() == []
        and store.forget_records() == []
        and store.debts() == []
        and store.suppressions([PSEUDONYMS.user(user) for user in "abc"]) == []
        and store.append([Interaction("a", "i0", 0)]) == AppendResult(0, 1)
    )


def test_a_person_who_is_gone_fails_the_whole_batch(filled: Store) -> None:
    there, gone = erasure_of(filled, "a"), replace(erasure_of(filled, "b", None, "r2"), user_number=17)
    with pytest.raises(PlanChanged):
        filled.accept([there, gone], chained)
    assert unchanged(filled)


def test_a_person_cannot_be_named_twice(filled: Store) -> None:
    with pytest.raises(PlanChanged):
        filled.accept([erasure_of(filled, "a"), erasure_of(filled, "a", None, "r2")], chained)
    assert unchanged(filled)


@pytest.mark.parametrize("missing", [999, "another's"])
def test_an_interaction_that_is_gone_fails_the_whole_request(filled: Store, missing: object) -> None:
    numbers = numbers_of(filled, 0)
    asked = [numbers[0], numbers_of(filled, 1)[0] if missing == "another's" else 999]
    with pytest.raises(PlanChanged):
        forget(filled, "a", asked)
    assert unchanged(filled)


def test_a_ledger_that_cannot_be_written_undoes_everything(filled: Store) -> None:
    with pytest.raises(RuntimeError, match="no signature"):
        filled.accept([erasure_of(filled, "a")], failing)
    assert unchanged(filled)


def failing(_tip: LedgerTip, _records: object) -> list[LedgerEntry]:
    raise RuntimeError("no signature")


def test_a_hold_prevents_forgetting_until_it_is_lifted(filled: Store) -> None:
    hold = Hold(PSEUDONYMS.user("b"), "court order 7", 5)
    filled.put_hold(replace(hold, reason="a claim"))
    filled.put_hold(hold)
    filled.put_hold(Hold("0" * 64, "earlier", 4))
    assert filled.holds() == [Hold("0" * 64, "earlier", 4), hold]
    with pytest.raises(LegalHold, match="court order 7"):
        filled.accept([erasure_of(filled, "a"), erasure_of(filled, "b", None, "r2")], chained)
    assert unchanged(filled)
    assert filled.drop_hold(hold.subject)
    assert not filled.drop_hold(hold.subject)
    assert forget(filled, "b").state is ForgetState.HIDDEN


def test_the_ledger_is_extended_together_with_records(filled: Store) -> None:
    record = forget(filled, "a")
    receipt = replace(
        record,
        state=ForgetState.COMPLETE,
        user_number=None,
        times={**record.times, "complete": 1500},
        timings_ms={"store": 1.5},
        receipt="signed",
    )
    epoch = filled.epoch()
    filled.extend_ledger(lambda tip: ([entry_after(tip, "receipt", "signed")], [receipt]))
    assert filled.forget_record("r1") == receipt
    assert [(entry.sequence, entry.kind) for entry in filled.ledger()] == [(1, "erasure"), (2, "receipt")]
    assert [entry.kind for entry in filled.ledger(1)] == ["receipt"]
    assert filled.ledger(2) == []
    filled.extend_ledger(lambda _tip: ([], []))
    assert (len(filled.ledger()), filled.epoch()) == (2, epoch)


def test_an_entry_that_does_not_follow_is_refused_with_its_records(filled: Store) -> None:
    record = forget(filled, "a")
    end = tip_of(filled.ledger())
    follower = entry_after(end, "receipt", "x")
    complete = replace(record, state=ForgetState.COMPLETE)
    for wrong in (replace(follower, sequence=3), replace(follower, previous="0" * 64)):
        with pytest.raises(BrokenLedger):
            filled.extend_ledger(offering([wrong], complete))
    with pytest.raises(BrokenLedger):
        filled.extend_ledger(offering([follower, follower], complete))
    assert len(filled.ledger()) == 1
    assert filled.forget_record("r1") == record


def offering(
    entries: list[LedgerEntry], record: ForgetRecord
) -> Callable[[LedgerTip], tuple[list[LedgerEntry], list[ForgetRecord]]]:
    return lambda _tip: (entries, [record])


def test_records_are_found_by_plan_and_by_what_is_pending(filled: Store) -> None:
    first, second = (forget(filled, user, None, f"r{user}") for user in "ba")
    assert filled.forget_records() == filled.forget_records(newest=2) == [first, second]
    assert filled.forget_records(plan="plan of rb") == [first]
    assert filled.forget_records(plan="plan of rx") == []
    assert filled.forget_records(subject=first.subject) == [first]
    assert filled.forget_records(subject="nobody") == []
    for state in ForgetState:
        changed = replace(first, state=state, created=900)
        filled.extend_ledger(lambda _tip, changed=changed: ([], [changed]))  # type: ignore[misc]
        open_ones = [second] if state is ForgetState.COMPLETE else [changed, second]
        assert filled.forget_records(pending=True) == open_ones
    assert filled.forget_records(plan="plan of rb", pending=True) == []
    assert filled.forget_records() == filled.forget_records(newest=2) == [changed, second]
    assert filled.forget_records(newest=1) == [second]
    assert filled.forget_records(plan="plan of rb", newest=1) == [changed]
    assert filled.forget_records(pending=True, newest=0) == []


def test_live_replicas_are_listed_until_they_leave(store: Store) -> None:
    one, two = Replica("b", "host", 7, 3, 1000), Replica("a", "host", 8, 4, 1001, ("x", "y"))
    store.beat(one)
    store.beat(two)
    assert store.replicas() == [two, one]
    one = replace(one, epoch=9, seen=2000, adapters=("z",))
    store.beat(one)
    assert store.replicas() == [two, one]
    store.leave("a")
    store.leave("a")
    assert store.replicas() == [one]
    assert store.epoch() == 0


def test_an_adapter_that_saw_a_forgotten_person_is_owed(filled: Store) -> None:
    filled.put_lineage("y", {0: 1, 1: 5}, filled.epoch())
    filled.put_lineage("x", {1: 4, 2: 2}, filled.epoch())
    assert filled.lineage("y") == {0: 1, 1: 5}
    assert filled.adapters_of(1) == ["x", "y"]
    forget(filled, "b")
    assert filled.debts() == [Debt("r1", "x"), Debt("r1", "y")]
    assert (filled.lineage("x"), filled.lineage("y")) == ({2: 2}, {0: 1})
    assert filled.adapters_of(1) == []
    forget(filled, "c", numbers_of(filled, 2)[:1], "r2")
    assert filled.debts("r2") == [Debt("r2", "x")]
    assert filled.lineage("x") == {2: 2}
    filled.drop_lineage(["x", "unheard of"])
    assert filled.debts() == [Debt("r1", "y")]
    assert (filled.lineage("x"), filled.lineage("y")) == ({}, {0: 1})


def test_the_lineage_of_an_adapter_is_replaced(filled: Store) -> None:
    filled.put_lineage("x", {0: 1, 1: 5}, filled.epoch())
    filled.put_lineage("x", {2: 3}, filled.epoch())
    assert filled.lineage("x") == {2: 3}
    assert filled.has_lineage("x")
    filled.put_lineage("x", {}, filled.epoch())
    assert filled.lineage("x") == {}
    assert not filled.has_lineage("x")


def test_an_adapter_that_was_trained_again_owes_nothing(filled: Store) -> None:
    for adapter in ("x", "y"):
        filled.put_lineage(adapter, {0: 1, 1: 5}, filled.epoch())
    forget(filled, "b")
    filled.put_lineage("x", {0: 1}, filled.epoch())
    assert filled.debts() == [Debt("r1", "y")]


def test_a_removal_that_is_not_exact_is_told_of_as_long_as_the_adapter_exists(filled: Store) -> None:
    filled.put_lineage("x", {0: 1, 1: 5}, filled.epoch())
    forget(filled, "b")
    filled.put_lineage("y", {0: 1}, filled.epoch(), {"r1": "{}", "r0": '{"auc":0.5}'})
    told = [MeasuredRemoval("r0", "y", '{"auc":0.5}'), MeasuredRemoval("r1", "y", "{}")]
    assert filled.measured_removals() == told
    filled.drop_lineage(["x"])
    assert (filled.measured_removals(), filled.debts()) == (told, [])
    filled.put_lineage("y", {0: 1}, filled.epoch())
    assert filled.measured_removals() == []
    filled.put_lineage("z", {}, filled.epoch(), {"r1": "{}"})
    filled.drop_lineage(["z"])
    assert filled.measured_removals() == []


@pytest.mark.parametrize("removal", ["accept", "user", "interactions"])
def test_an_adapter_may_not_be_used_if_somebody_was_forgotten_meanwhile(filled: Store, removal: str) -> None:
    epoch = filled.epoch()
    filled.put_lineage("x", {0: 5}, epoch)
    if removal == "accept":
        forget(filled, "b")
    elif removal == "user":
        delete_user(filled, 1)
    else:
        delete_interactions(filled, 1, numbers_of(filled, 1)[:1])
    assert filled.erasure_epoch() == epoch + 1
    with pytest.raises(Busy):
        filled.put_lineage("x", {1: 5}, epoch)
    assert filled.lineage("x") == {0: 5}
    filled.append([Interaction("a", "i0", 77)])
    assert filled.erasure_epoch() == epoch + 1
    filled.put_lineage("x", {2: 5}, filled.epoch())
    assert filled.lineage("x") == {2: 5}


def test_a_large_batch_goes_at_once(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction(f"u{user}", f"i{n}", n) for user in range(1100) for n in range(2)])
    store.put_lineage("x", dict.fromkeys(range(1100), 2), store.epoch())
    epoch = store.epoch()
    erasures = [erasure_of(store, f"u{user}", None, f"r{user:04}") for user in range(1050)]
    records = store.accept(erasures, chained)
    assert [record.epoch_after for record in records] == list(range(epoch + 1, epoch + 1051))
    assert all(record.removed == {"users": 1, "interactions": 2} for record in records)
    assert store.counts() == Counts(50, 5, 100)
    assert len(store.debts()) == len(store.ledger()) == len(store.forget_records()) == 1050
    assert list(store.lineage("x")) == list(range(1050, 1100))
    rows = [Interaction(f"u{user}", "i0", 9) for user in range(1100)]
    assert store.append(rows) == AppendResult(50, 0, 1050)


def test_processes_are_listed_marked_and_taken_off(store: Store) -> None:
    late, early = (ServiceProcess(name, "here", 7, 3, epoch, 100) for name, epoch in (("late", 9), ("early", 2)))
    store.put_process(late)
    store.put_process(early)
    assert store.processes() == [early, late]
    store.mark_processes(["late", "unknown"], ended=False, seen=200)
    store.mark_processes(["early"], ended=True, seen=300)
    assert store.processes() == [replace(early, ended=True), replace(late, seen=200)]
    store.drop_processes(["early", "unknown"])
    assert [each.id for each in store.processes()] == ["late"]


def test_requests_whose_receipts_wait_for_processes_are_found(filled: Store) -> None:
    record, other = forget(filled, "b"), forget(filled, "c", request_id="r2")
    line = '{"detail":{},"layer":"freed_memory","status":"%s","until":null}'
    filled.extend_ledger(lambda _: ([], [replace(record, receipt=line % "PENDING")]))
    filled.extend_ledger(lambda _: ([], [replace(other, receipt=line % "PROVEN")]))
    assert filled.waiting_for_processes(record.epoch_after, 5) == ["r1"]
    assert filled.waiting_for_processes(record.epoch_after - 1, 5) == []
    assert filled.waiting_for_processes(record.epoch_after, 0) == []
