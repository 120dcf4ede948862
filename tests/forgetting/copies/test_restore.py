from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import orjson
import pytest

from rag_rec.domain import Interaction, Item, RecommendationRequest, User
from rag_rec.errors import (
    BrokenLedger,
    Busy,
    ConfirmationRequired,
    Forgotten,
    IncompatibleStore,
    InvalidInput,
    NotReady,
    WrongKey,
)
from rag_rec.forgetting.copies.restore import restore
from rag_rec.forgetting.ledger.chain import make_entry
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.opening import open_saga
from rag_rec.forgetting.proof.forensics import traces
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.generation import Generations
from rag_rec.keys import open_signer
from rag_rec.settings import Settings
from rag_rec.store.records import ForgetState, LedgerTip, Replica, Selection
from tests.forgetting.asking import confirmed, forget_in
from tests.forgetting.homes import CANARY, CANARY_TEXT, log
from tests.forgetting.stores import (
    back_up,
    differing,
    identities_of,
    interactions_of,
    open_store_of,
    people_in,
    rows_of,
)
from tests.homes import ITEMS, build, fill, running, settings_for

OTHERS = {f"user-{u}" for u in range(5)}
LATER = Interaction("later", ITEMS[3].id, 7, "like", text="came after the backup")


@pytest.fixture
def settings(either: Settings) -> Settings:
    """A system on either database, with six people."""
    fill(either, log())
    return either


@pytest.fixture
def backup(settings: Settings, tmp_path: Path) -> Path:
    """A backup of it that holds all of them."""
    back_up(settings, tmp_path / "old.backup")
    return tmp_path / "old.backup"


def under_another_pseudonym_key(settings: Settings) -> Settings:
    return Settings.model_validate({**settings.model_dump(), "pseudonym_key": "B" * 43 + "="})


def append(settings: Settings, *rows: Interaction) -> None:
    with open_store_of(settings) as store:
        store.append(rows)


def requests(settings: Settings) -> list[str]:
    with open_store_of(settings) as store:
        return [record.request_id for record in store.forget_records()]


def resume(settings: Settings) -> int:
    with open_store_of(settings) as store:
        return open_saga(settings, store).resume()


def test_puts_every_row_back(settings: Settings, backup: Path) -> None:
    forget_in(settings, "user-0")
    back_up(settings, newer := backup.with_name("newer.backup"))
    rows = rows_of(settings)
    append(settings, LATER)
    restored = restore(newer, settings)
    assert people_in(settings) == OTHERS - {"user-0"} | {CANARY}
    assert differing(rows, rows_of(settings)) == ["counters"]
    assert restored.rows == {name: len(frame) for name, frame in rows.items()}
    assert restored.replayed == {}
    assert restored.ledger == 2


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
        patched.setattr("rag_rec.forgetting.saga.Saga._carry_out", _crash)
        with pytest.raises(_Crash):
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
        patched.setattr("rag_rec.forgetting.saga.state_of", lambda _: ForgetState.HIDDEN)
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
        patched.setattr("rag_rec.forgetting.saga.Saga._carry_out", _crash)
        with pytest.raises(_Crash):
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


def counters_of(settings: Settings) -> dict[str, int]:
    return dict(rows_of(settings)["counters"].iter_rows())


class _Crash(Exception):
    pass


def _crash(*_: object) -> None:
    raise _Crash


def crash_after(calls: int) -> Callable[[int], None]:
    counting = count(1)

    def advance(_: int) -> None:
        if next(counting) == calls:
            raise _Crash

    return advance


def restored_or_old(settings: Settings) -> str:
    """Which of the only two states a store may be in after a crash."""
    with open_store_of(settings) as store:
        later = store.user("later") is not None
        assert store.user(CANARY) is None
        return "old" if later else "restored"


def test_a_crash_leaves_the_old_store_or_one_without_the_forgotten(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    append(settings, LATER)
    for calls in count(1):
        try:
            restore(backup, settings, advance=crash_after(calls))
        except _Crash:
            assert restored_or_old(settings) == "old"
        else:
            break
    assert calls > 4
    assert restored_or_old(settings) == "restored"


@pytest.mark.parametrize(
    ("place", "state"),
    [
        ("rag_rec.forgetting.copies.replay.suppress", "old"),
        ("rag_rec.forgetting.copies.replay.Replay._receipt", "old"),
        ("rag_rec.forgetting.copies.restore.discard_derived", "old"),
        ("rag_rec.forgetting.ledger.file.LedgerFile.extend", "restored"),
        ("rag_rec.forgetting.copies.restore.scrub", "restored"),
    ],
)
def test_a_crash_at_a_step(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch, place: str, state: str
) -> None:
    forget_in(settings, CANARY)
    append(settings, LATER)
    with monkeypatch.context() as patched:
        patched.setattr(place, _crash)
        with pytest.raises(_Crash):
            restore(backup, settings)
    assert restored_or_old(settings) == state
    restore(backup, settings)
    assert restored_or_old(settings) == "restored"


def test_what_was_made_from_the_old_store_is_destroyed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    back_up(settings, tmp_path / "old.backup")
    build(settings)
    restore(tmp_path / "old.backup", settings, without_later_erasures=True)
    assert Generations(settings.generations).names() == []


def test_no_byte_of_the_replaced_people_is_left(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    back_up(settings, tmp_path / "old.backup")
    append(settings, LATER)
    forget_in(settings, CANARY)
    assert traces("came after the backup", settings.home).occurrences
    restore(tmp_path / "old.backup", settings)
    for text in ("came after the backup", CANARY, CANARY_TEXT):
        assert not traces(text, settings.home).occurrences, text
    assert traces("user-1", settings.home).occurrences


def test_a_running_service_has_to_be_stopped_first(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    append(settings, LATER)
    now = time.time_ns() // 1_000_000
    with open_store_of(settings) as store:
        store.beat(Replica("one", socket.gethostname(), os.getpid(), 5, now))
    with pytest.raises(Busy, match="stop it"):
        restore(backup, settings)
    assert restored_or_old(settings) == "old"
    with open_store_of(settings) as store:
        store.beat(Replica("one", "elsewhere", 1, 5, now - 86_400_000))
    restore(backup, settings)
    with open_store_of(settings) as store:
        assert store.replicas() == []


def test_an_engine_that_knew_the_old_store_answers_nothing_until_there_is_a_new_index(tmp_path: Path) -> None:
    engine = running(tmp_path / "home", log())
    settings, asked = engine.settings, RecommendationRequest("user-1")
    back_up(settings, tmp_path / "old.backup")
    restore(tmp_path / "old.backup", settings, without_later_erasures=True)
    with pytest.raises(NotReady, match="index build"):
        engine.recommend(asked)
    append(settings, LATER)
    with pytest.raises(NotReady, match="index build"):
        engine.recommend(asked)
    build(settings)
    assert engine.refresh()
    assert engine.recommend(asked).provenance.known_user
    engine.close()


def test_without_a_ledger_it_has_to_be_said_that_there_is_none(settings: Settings, backup: Path) -> None:
    append(settings, LATER)
    with pytest.raises(ConfirmationRequired, match="--without-later-erasures"):
        restore(backup, settings)
    assert "later" in people_in(settings)
    restore(backup, settings, without_later_erasures=True)
    assert people_in(settings) == OTHERS | {CANARY}


def test_the_ledger_of_the_file_is_enough(settings: Settings, backup: Path, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    other = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'new.sqlite3'}"})
    restored = restore(backup, other)
    assert people_in(other) == OTHERS
    assert restored.replayed["erasure"] == 1


def test_the_ledger_that_is_given_is_enough(settings: Settings, backup: Path, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    copy = LedgerFile(settings.ledger_file).read()
    settings.ledger_file.unlink()
    other = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'new.sqlite3'}"})
    with pytest.raises(ConfirmationRequired):
        restore(backup, other)
    restore(backup, other, [copy])
    assert people_in(other) == OTHERS
    assert LedgerFile(settings.ledger_file).read() == copy


def test_the_longest_of_all_ledgers_counts(settings: Settings, backup: Path) -> None:
    forget_in(settings, "user-0")
    short = LedgerFile(settings.ledger_file).read()
    forget_in(settings, CANARY)
    settings.ledger_file.unlink()
    LedgerFile(settings.ledger_file).extend(short)
    restored = restore(backup, settings, [short[:1]])
    assert restored.ledger == 4
    assert people_in(settings) == OTHERS - {"user-0"}


def test_a_ledger_older_than_the_backup_is_refused(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, "user-0")
    short = LedgerFile(settings.ledger_file).read()
    forget_in(settings, CANARY)
    back_up(settings, tmp_path / "newer.backup")
    settings.ledger_file.unlink()
    other = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'new.sqlite3'}"})
    with pytest.raises(BrokenLedger, match="older than the backup"):
        restore(tmp_path / "newer.backup", other, [short])
    restored = restore(tmp_path / "newer.backup", other, [short], without_later_erasures=True)
    assert restored.ledger == 4


def test_a_foreign_ledger_is_refused(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    back_up(settings, tmp_path / "newer.backup")
    foreign = [make_entry(LedgerTip(0, "0" * 64), "consent", {"subject": "x"}, open_signer(settings))]
    with pytest.raises(BrokenLedger, match="contradict"):
        restore(tmp_path / "newer.backup", settings, [foreign])


def test_a_changed_ledger_is_refused(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    text = settings.ledger_file.read_text()
    settings.ledger_file.write_text(text.replace("complete", "complexe"))
    with pytest.raises(BrokenLedger):
        restore(backup, settings)


def test_an_entry_of_a_kind_from_the_future_is_refused(settings: Settings, backup: Path) -> None:
    entry = make_entry(LedgerTip(0, "0" * 64), "pardon", {}, open_signer(settings))
    with pytest.raises(IncompatibleStore, match="pardon"):
        restore(backup, settings, [[entry]])
    assert CANARY in people_in(settings)


def test_another_pseudonym_key_is_refused(settings: Settings, backup: Path) -> None:
    with pytest.raises(WrongKey, match="pseudonym key"):
        restore(backup, under_another_pseudonym_key(settings), without_later_erasures=True)


def test_another_signing_key_is_refused(settings: Settings, backup: Path) -> None:
    other = Settings.model_validate({**settings.model_dump(), "signing_key": "B" * 43 + "="})
    with pytest.raises(WrongKey, match="RAGREC_SIGNING_KEY"):
        restore(backup, other, without_later_erasures=True)


def test_a_home_without_the_keys_is_refused_and_gets_none(backup: Path, tmp_path: Path) -> None:
    empty = settings_for(tmp_path / "empty")
    with pytest.raises(WrongKey, match="no pseudonym key"):
        restore(backup, empty, without_later_erasures=True)
    assert not empty.home.exists()


def test_it_says_up_to_when_the_ledger_goes(settings: Settings, backup: Path) -> None:
    assert restore(backup, settings, without_later_erasures=True).ledger_until is None
    forget_in(settings, CANARY)
    issued = orjson.loads(LedgerFile(settings.ledger_file).read()[-1].body)["issued"]
    assert restore(backup, settings).ledger_until == issued


def test_a_changed_backup_changes_nothing(settings: Settings, backup: Path) -> None:
    content = backup.read_bytes()
    middle = content.index(b"PAR1", len(content) // 3) + 8
    backup.write_bytes(content[:middle] + b"\xff\xfe" + content[middle + 2 :])
    with pytest.raises(InvalidInput, match="not a whole backup"):
        restore(backup, settings, without_later_erasures=True)
    assert people_in(settings) == OTHERS | {CANARY}


def test_a_backup_goes_from_one_database_to_the_other(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    back_up(settings, tmp_path / "newer.backup")
    rows = rows_of(settings)
    other = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'other.sqlite3'}"})
    restore(tmp_path / "newer.backup", other)
    back_up(other, tmp_path / "other.backup")
    assert differing(rows, rows_of(other)) == ["counters"]
    restored = restore(tmp_path / "other.backup", settings)
    assert differing(rows, rows_of(settings)) == ["counters"]
    assert restored.replayed == {}


def test_the_epoch_is_beyond_every_erasure_even_where_the_old_store_is_lost(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    back_up(settings, tmp_path / "old.backup")
    for n in range(20):
        append(settings, Interaction("user-0", ITEMS[0].id, 1000 + n, "like"))
    forget_in(settings, CANARY)
    erased = max(orjson.loads(entry.body).get("epoch", 0) for entry in LedgerFile(settings.ledger_file).read())
    Path(f"{settings.home}/store.sqlite3").unlink()
    assert restore(tmp_path / "old.backup", settings).epoch > erased


def test_a_restored_store_goes_on_as_any_other(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    restore(backup, settings)
    forget_in(settings, "user-3")
    back_up(settings, backup.with_name("next.backup"))
    forget_in(settings, "user-2")
    restore(backup.with_name("next.backup"), settings)
    assert people_in(settings) == OTHERS - {"user-2", "user-3"}
    restore(backup, settings)
    assert people_in(settings) == OTHERS - {"user-2", "user-3"}
    assert len(requests(settings)) == 3
