"""A process that cannot recognise forgotten people may write nobody's data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import WrongKey
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.store import SqlStore, open_store
from rag_rec.store.database import Database
from rag_rec.store.holds import write_hold
from rag_rec.store.migration import upgrade
from rag_rec.store.records import AppendResult, Counts, Hold
from rag_rec.store.seals import needs_keys
from tests.rag_rec.store.erasing import chained, consented, entry_after, erasure_of
from tests.rag_rec.store.reference_privacy import PSEUDONYMS

OTHER = Pseudonyms(b"another key of 32 bytes, exactly")


HOLD = Hold(PSEUDONYMS.user("a"), "case 7", 1000)


def fill(store: SqlStore) -> None:
    store.put_items([Item("i", "t")])
    store.append([Interaction(user, "i", 1) for user in "ab"])


def check_that_nobody_can_be_written(store: SqlStore) -> None:
    epoch = store.epoch()
    with pytest.raises(WrongKey):
        store.append([Interaction("z", "i", 1)])
    with pytest.raises(WrongKey):
        store.put_users([User("c")])
    with pytest.raises(WrongKey):
        store.admit_users([User("c")])
    assert store.put_items([Item("i", "t")]) == 0
    assert store.epoch() == epoch


def held_in_a_former_version(store_url: str) -> None:
    """A store as it was left by a version that wrote down no key with a hold."""
    with closing(Database(store_url)) as database, database.engine.begin() as connection:
        upgrade(connection, "0002")
        write_hold(connection, HOLD)


def test_another_key_opens_a_store_only_as_long_as_nobody_is_suppressed(store_url: str) -> None:
    store = open_store(store_url, pseudonyms=PSEUDONYMS)
    fill(store)
    open_store(store_url, pseudonyms=OTHER).close()
    store.accept([erasure_of(store, "a")], chained)
    store.close()
    with pytest.raises(WrongKey):
        open_store(store_url, pseudonyms=OTHER)
    again = open_store(store_url, pseudonyms=PSEUDONYMS)
    assert again.append([Interaction("a", "i", 1)]) == AppendResult(0, 0, 1)
    again.close()


def test_another_key_is_refused_from_the_first_hold_on(store_url: str) -> None:
    store, late = (open_store(store_url, pseudonyms=key) for key in (PSEUDONYMS, OTHER))
    fill(store)
    store.put_hold(HOLD)
    with pytest.raises(WrongKey):
        open_store(store_url, pseudonyms=OTHER)
    check_that_nobody_can_be_written(late)
    with pytest.raises(WrongKey):
        late.accept([replace(erasure_of(late, "a"), subject=OTHER.user("a"))], chained)
    with pytest.raises(WrongKey):
        late.put_hold(replace(HOLD, subject=OTHER.user("b")))
    with pytest.raises(WrongKey):
        late.drop_hold(OTHER.user("a"))
    assert (late.holds(), late.counts()) == ([HOLD], Counts(2, 1, 2))
    assert store.append([Interaction("c", "i", 1)]) == AppendResult(1, 0)
    assert store.drop_hold(HOLD.subject)
    check_that_nobody_can_be_written(late)
    late.close()
    store.close()


def test_nobody_can_be_held_or_released_without_a_key(store_url: str) -> None:
    keyless = open_store(store_url)
    fill(keyless)
    with pytest.raises(WrongKey):
        keyless.put_hold(HOLD)
    assert keyless.holds() == []
    assert keyless.put_users([User("c")]) == 1
    with closing(open_store(store_url, pseudonyms=PSEUDONYMS)) as store:
        store.put_hold(HOLD)
    check_that_nobody_can_be_written(keyless)
    with pytest.raises(WrongKey):
        keyless.drop_hold(HOLD.subject)
    assert keyless.holds() == [HOLD]
    keyless.close()


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.accept([erasure_of(store, "b")], chained),
        lambda store: store.put_hold(replace(HOLD, subject=PSEUDONYMS.user("b"))),
        lambda store: store.drop_hold(HOLD.subject),
    ],
    ids=["erasure", "hold", "release"],
)
def test_holds_of_a_former_version_lock_nobody_out_until_a_key_is_needed(
    store_url: str, write: Callable[[SqlStore], object]
) -> None:
    held_in_a_former_version(store_url)
    store, late = (open_store(store_url, pseudonyms=key) for key in (PSEUDONYMS, OTHER))
    fill(store)
    assert not late.drop_hold(OTHER.user("a"))
    assert late.append([Interaction("c", "i", 1)]) == AppendResult(1, 0)
    open_store(store_url, pseudonyms=PSEUDONYMS).close()
    write(store)
    check_that_nobody_can_be_written(late)
    with pytest.raises(WrongKey):
        open_store(store_url, pseudonyms=OTHER)
    assert store.append([Interaction("d", "i", 1)]) == AppendResult(1, 0)
    late.close()
    store.close()


def test_without_a_key_everything_can_be_written_until_somebody_is_suppressed(store_url: str) -> None:
    keyless = open_store(store_url)
    fill(keyless)
    assert keyless.put_users([User("c")]) == 1
    store = open_store(store_url, pseudonyms=PSEUDONYMS)
    store.accept([erasure_of(store, "a")], chained)
    check_that_nobody_can_be_written(keyless)
    store.consent(PSEUDONYMS.user("a"), 2, consented)
    check_that_nobody_can_be_written(keyless)
    assert keyless.counts() == Counts(2, 1, 1)
    keyless.close()
    store.close()


def test_a_key_that_was_right_at_the_opening_may_be_wrong_afterwards(store_url: str) -> None:
    store, late = (open_store(store_url, pseudonyms=key) for key in (PSEUDONYMS, OTHER))
    fill(store)
    store.accept([erasure_of(store, "a")], chained)
    check_that_nobody_can_be_written(late)
    with pytest.raises(WrongKey):
        late.accept([erasure_of(late, "b", None, "r2")], chained)
    assert late.counts() == Counts(1, 1, 1)
    late.close()
    store.close()


def test_nobody_can_be_forgotten_without_a_key(store_url: str) -> None:
    store = open_store(store_url)
    fill(store)
    with pytest.raises(WrongKey):
        store.accept([erasure_of(store, "a")], chained)
    assert store.counts() == Counts(2, 1, 2)
    assert store.append([Interaction("c", "i", 1)]) == AppendResult(1, 0)
    store.close()


def test_keys_are_needed_as_soon_as_something_was_written_under_them(store_url: str) -> None:
    assert not needs_keys(store_url)
    with closing(open_store(store_url, pseudonyms=PSEUDONYMS)) as store:
        fill(store)
        assert not needs_keys(store_url)
        assert store.newest_entry() is None
        store.extend_ledger(lambda tip: ([entry_after(tip, "hold", "of somebody")], []))
        assert needs_keys(store_url)
        assert store.newest_entry() == store.ledger_entry(1) == store.ledger()[-1]
        assert store.ledger_entry(2) is None


def test_keys_are_needed_for_holds_alone(store_url: str, tmp_path: Path) -> None:
    with closing(open_store(store_url, pseudonyms=PSEUDONYMS)) as store:
        store.put_hold(HOLD)
        assert needs_keys(store_url)
        assert store.drop_hold(HOLD.subject)
        assert needs_keys(store_url)
    former = f"sqlite:///{tmp_path / 'former.sqlite3'}"
    held_in_a_former_version(former)
    assert needs_keys(former)


def test_looking_whether_keys_are_needed_makes_no_store(tmp_path: Path) -> None:
    assert not needs_keys(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    assert list(tmp_path.iterdir()) == []
