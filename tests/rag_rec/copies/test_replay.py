from __future__ import annotations

from pathlib import Path

import pytest

from rag_rec.copies.restore import restore
from rag_rec.domain import Interaction, Item, User
from rag_rec.engine.tending import open_saga
from rag_rec.errors import (
    Forgotten,
    WrongKey,
)
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.layers.records import ForgetState
from rag_rec.settings import Settings
from rag_rec.store.records import Selection
from tests.homes import ITEMS
from tests.rag_rec.forgetting.asking import confirmed, forget_in
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.stores import (
    LATER,
    OTHERS,
    Crash,
    append,
    back_up,
    counters_of,
    crash,
    identities_of,
    interactions_of,
    open_store_of,
    people_in,
    resume,
    rows_of,
    under_another_pseudonym_key,
)


def test_whoever_was_forgotten_after_the_backup_stays_forgotten(settings: Settings, backup: Path) -> None:
    outcome = forget_in(settings, CANARY)
    receipts = rows_of(settings)["forget_requests"].get_column("receipt").to_list()
    restored = restore(backup, settings)
    assert people_in(settings) == OTHERS
    assert restored.replayed == {"erasure": 1, "receipt": 1, "users_removed": 1, "interactions_removed": 6}
    with open_store_of(settings) as store:
        late = store.append([row for row in log() if row.user_id == CANARY])
        assert (late.accepted, late.suppressed) == (0, 6)
        with pytest.raises(Forgotten):
            store.put_users([User(CANARY)])
        record = store.forget_record(outcome.request_id)
        assert record is not None
        assert record.state is ForgetState.COMPLETE
        assert record.user_number is None
        assert record.receipt in receipts
        assert [entry.kind for entry in store.ledger()] == ["erasure", "receipt"]


def test_the_record_of_a_request_comes_back_as_it_was(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    before = rows_of(settings)["forget_requests"]
    restore(backup, settings)
    assert rows_of(settings)["forget_requests"].equals(before)


def test_a_request_that_is_repeated_after_a_restore_gives_the_same_receipt(settings: Settings, backup: Path) -> None:
    with open_store_of(settings) as store:
        saga = open_saga(settings, store)
        request = confirmed(saga, ForgetRequest.of(CANARY))
        first = saga.forget(request)
    receipts = rows_of(settings)["forget_requests"].get_column("receipt").to_list()
    restore(backup, settings)
    with open_store_of(settings) as store:
        again = open_saga(settings, store).forget(request)
    assert again.repeated
    assert again.request_id == first.request_id
    assert rows_of(settings)["forget_requests"].get_column("receipt").to_list() == receipts


def test_forgotten_interactions_stay_forgotten(settings: Settings, backup: Path) -> None:
    gone = frozenset({ITEMS[1].id, ITEMS[3].id})
    forget_in(settings, CANARY, Selection(item_ids=gone))
    forget_in(settings, "user-2", Selection(item_ids=frozenset({ITEMS[2].id})))
    restored = restore(backup, settings)
    assert restored.replayed["interactions_removed"] == 3
    assert {row.item_id for row in interactions_of(settings, CANARY)} == {item.id for item in ITEMS[:6]} - gone
    assert len(interactions_of(settings, "user-2")) == 4
    with open_store_of(settings) as store:
        late = store.append([row for row in log() if row.user_id == CANARY])
    assert (late.accepted, late.duplicates, late.suppressed) == (0, 4, 2)


def test_people_who_came_and_went_after_the_backup_may_not_come_back_either(settings: Settings, backup: Path) -> None:
    append(settings, LATER, Interaction("half", ITEMS[4].id, 8, "like"), Interaction("half", ITEMS[5].id, 8, "like"))
    forget_in(settings, "later")
    forget_in(settings, "half", Selection(item_ids=frozenset({ITEMS[4].id})))
    restored = restore(backup, settings)
    assert restored.replayed["users_removed"] == restored.replayed["interactions_removed"] == 0
    with open_store_of(settings) as store:
        again = store.append([LATER, *(Interaction("half", ITEMS[n].id, 8, "like") for n in (4, 5))])
        assert (again.accepted, again.suppressed) == (1, 2)


def test_a_person_who_consented_after_the_backup_begins_anew(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    with identities_of(settings) as identities:
        opened = identities.consent(CANARY)
    assert opened.consented is not None
    restored = restore(backup, settings)
    assert restored.replayed["consent"] == 1
    assert CANARY not in people_in(settings)
    with open_store_of(settings) as store:
        assert store.suppressions([opened.subject]) == [opened]
        fresh = Interaction(CANARY, ITEMS[9].id, opened.consented, "like")
        late = store.append([*(row for row in log() if row.user_id == CANARY), fresh])
        assert (late.accepted, late.suppressed) == (1, 6)


def test_a_person_who_consented_before_the_backup_is_in_it(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    with identities_of(settings) as identities:
        opened = identities.consent(CANARY)
    fresh = Interaction(CANARY, ITEMS[9].id, int(opened.consented or 0), "like")
    append(settings, fresh)
    back_up(settings, tmp_path / "consented.backup")
    forget_in(settings, "user-1")
    restore(tmp_path / "consented.backup", settings)
    assert interactions_of(settings, CANARY) == [fresh]
    back_up(settings, tmp_path / "again.backup")
    forget_in(settings, CANARY)
    restore(tmp_path / "consented.backup", settings)
    assert interactions_of(settings, CANARY) == []


def test_holds_are_as_the_ledger_says(settings: Settings, tmp_path: Path) -> None:
    with identities_of(settings) as identities:
        identities.hold("user-0", "case 0")
        back_up(settings, tmp_path / "held.backup")
        identities.release("user-0")
        held = identities.hold("user-1", "case 1")
    restored = restore(tmp_path / "held.backup", settings)
    assert (restored.replayed["hold"], restored.replayed["release"]) == (1, 1)
    with open_store_of(settings) as store:
        assert store.holds() == [held]


def test_a_hold_that_is_replayed_binds_the_store_to_the_key(settings: Settings, backup: Path) -> None:
    with identities_of(settings) as identities:
        identities.hold(CANARY, "case 7")
    restore(backup, settings)
    with pytest.raises(WrongKey), open_store_of(under_another_pseudonym_key(settings)):
        pass


def test_a_request_that_was_not_finished_is_taken_up_again(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("rag_rec.forgetting.saga.Saga._carry_out", crash)
        with pytest.raises(Crash):
            forget_in(settings, CANARY)
    restore(backup, settings)
    with open_store_of(settings) as store:
        pending = store.forget_records(pending=True)
        assert [record.state for record in pending] == [ForgetState.HIDDEN]
        assert store.user(CANARY) is None
    assert resume(settings) == 1
    with open_store_of(settings) as store:
        assert store.forget_records(pending=True) == []


def test_a_receipt_that_leaves_files_open_is_taken_up_again(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("rag_rec.forgetting.saga.state_of", lambda *_: ForgetState.HIDDEN)
        forget_in(settings, CANARY)
    restore(backup, settings)
    with open_store_of(settings) as store:
        [record] = store.forget_records(pending=True)
        assert record.user_number is not None
        assert record.receipt is not None
    assert resume(settings) == 1


def test_a_request_about_somebody_the_backup_does_not_hold_is_taken_up_again(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(settings, LATER)
    with monkeypatch.context() as patched:
        patched.setattr("rag_rec.forgetting.saga.Saga._carry_out", crash)
        with pytest.raises(Crash):
            forget_in(settings, "later")
    restore(backup, settings)
    with open_store_of(settings) as store:
        number = store.forget_records(pending=True)[0].user_number
        assert number is not None
        assert store.user_by_number(number) is None
        store.put_users([User("newcomer")])
        assert store.user("newcomer") not in (None, (number, User("newcomer")))
    assert resume(settings) == 1


def test_numbers_are_never_used_again_and_everything_older_is_void(settings: Settings, backup: Path) -> None:
    append(settings, LATER, *(Interaction(f"new-{n}", ITEMS[n].id, 9, "like") for n in range(4)))
    forget_in(settings, "new-3")
    before = counters_of(settings)
    restored = restore(backup, settings)
    after = counters_of(settings)
    assert restored.epoch == after["epoch"] == after["erasure"] == before["epoch"] + 1
    assert after["user"] >= before["user"]
    assert after["interaction"] >= before["interaction"]
    assert after["suppressed"] == before["suppressed"]
    with open_store_of(settings) as store:
        assert store.changes(0) == []
        assert store.epoch() == store.erasure_epoch() == restored.epoch


def test_items_and_events_are_numbered_without_gaps(settings: Settings, backup: Path) -> None:
    with open_store_of(settings) as store:
        store.put_items([Item("new-item", "a new text")])
        store.append([Interaction("user-1", "new-item", 3, "new-event")])
        forget_in(settings, "user-4")
    restore(backup, settings)
    with open_store_of(settings) as store:
        assert list(store.items()) == list(ITEMS)
        assert store.events() == ["like"]
        store.put_items([Item("other", "another text")])
        found = store.item("other")
        assert found is not None
        assert found[0] == len(ITEMS)
