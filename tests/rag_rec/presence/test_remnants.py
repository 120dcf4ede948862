from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from rag_rec.domain import User
from rag_rec.presence.remnants import MOST_SECONDS, QUIET_SECONDS, Remnants
from rag_rec.store import SqlStore, open_store
from rag_rec.store.protocol import Store


class Counting:
    """A store that was changed, and how often its connections were renewed."""

    def __init__(self) -> None:
        self.erased, self.unscrubbed, self.renewals = 3, False, 0

    def erasure_epoch(self) -> int:
        return self.erased

    def scrub_pending(self) -> bool:
        return self.unscrubbed

    def renew_connections(self) -> None:
        self.renewals += 1


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Counting:
    return Counting()


def remnants_of(store: Counting, clock: Clock) -> Remnants:
    return Remnants(cast(Store, store), clock)


def test_it_lets_go_once_when_removals_have_ceased(store: Counting, clock: Clock) -> None:
    remnants = remnants_of(store, clock)
    remnants.let_go_of_removed()
    for _ in range(3):
        store.erased += 1
        remnants.let_go_of_removed()
        clock.seconds += QUIET_SECONDS / 2
        remnants.let_go_of_removed()
        assert store.renewals == 0
        assert remnants.waits
    clock.seconds += QUIET_SECONDS / 2
    for _ in range(2):
        remnants.let_go_of_removed()
        assert (store.renewals, remnants.waits) == (1, False)


def test_it_waits_until_the_store_is_scrubbed(store: Counting, clock: Clock) -> None:
    remnants = remnants_of(store, clock)
    store.erased, store.unscrubbed = 4, True
    remnants.let_go_of_removed()
    clock.seconds += QUIET_SECONDS
    remnants.let_go_of_removed()
    assert store.renewals == 0
    store.unscrubbed = False
    remnants.let_go_of_removed()
    assert store.renewals == 1


def test_it_lets_go_each_minute_where_removals_never_cease(store: Counting, clock: Clock) -> None:
    remnants = remnants_of(store, clock)
    while clock.seconds < 100.0 + 3.5 * MOST_SECONDS:
        store.erased += 1
        clock.seconds += 1.0
        remnants.let_go_of_removed()
    assert store.renewals == 3


def test_renewed_connections_know_the_newest_state(tmp_path: Path) -> None:
    store: SqlStore = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    store.put_users([User("u1", {"age": 30})])
    before = store.user("u1")
    assert before is not None
    store.renew_connections()
    store.put_users([User("u1", {"age": 31})])
    after = store.user("u1")
    assert after is not None
    assert (before[1].attributes["age"], after[1].attributes["age"]) == (30, 31)
    store.close()
