from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.presence import replicas
from rag_rec.presence.hosts import this_process_space
from rag_rec.presence.replicas import BEAT_MS, EXPIRY_MS, LEASE_MS, Presence, is_running, lagging, present, uptime_ms
from rag_rec.store import open_store
from rag_rec.store.protocol import Store
from rag_rec.store.records import Replica

NOW = 1_800_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    yield store
    store.close()


class Clock:
    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of day, and that since the machine was started."""
    clock = Clock()
    monkeypatch.setattr(replicas, "now_ms", clock)
    monkeypatch.setattr(replicas, "uptime_ms", clock)
    return clock


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_replica_that_is_behind_is_lagging_and_others_are_not(store: Store, clock: Clock) -> None:
    store.beat(present("own", 1))
    store.beat(present("behind", 4))
    store.beat(present("there", 5))
    assert lagging(store, 5, "own") == ["behind"]
    assert lagging(store, 5, None) == ["behind", "own"]
    assert lagging(store, 4, "own") == []
    assert {replica.seen for replica in store.replicas()} == {clock.now}


def test_replicas_that_ended_go_off_the_list(store: Store, clock: Clock) -> None:
    here = this_process_space()
    store.beat(Replica("dead", here, ended_process(), 1, NOW))
    store.beat(Replica("silent", "another-host", 1, 1, NOW - EXPIRY_MS - 1))
    store.beat(Replica("far", "another-host", 1, 1, NOW - EXPIRY_MS))
    assert lagging(store, 5, None) == ["far"]
    assert [replica.id for replica in store.replicas()] == ["far"]
    clock.now += 1
    assert lagging(store, 5, None) == []


def test_a_process_of_somebody_else_is_running(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    def refused(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert is_running(replace(present("r", 1), process=1, seen=clock.now))


def test_a_presence_beats_now_and_then_and_at_once_after_a_removal(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    presence = Presence(store)
    presence.beat(3)
    presence.leave()
    assert store.replicas() == []
    presence.join(3)
    assert presence.id is not None
    assert store.replicas() == [Replica(presence.id, this_process_space(), os.getpid(), 3, NOW)]
    clock.now += BEAT_MS
    presence.beat(4)
    assert store.replicas()[0].epoch == 3
    clock.now += 1
    presence.beat(4)
    assert store.replicas()[0].epoch == 4
    monkeypatch.setattr(store, "erasure_epoch", lambda: 6)
    presence.beat(7)
    assert store.replicas()[0].epoch == 7
    presence.leave()
    told_after: list[list[int]] = []
    presence.join(5, (), lambda: told_after.append([replica.epoch for replica in store.replicas()]))
    presence.beat(8)
    presence.beat(9)
    assert told_after == [[5]]
    assert store.replicas()[0].epoch == 8
    presence.leave()
    assert store.replicas() == []


def test_a_removal_is_said_to_be_followed_when_earlier_answers_have_left(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    presence = Presence(store)
    presence.join(3, (), lambda: told.append(store.replicas()[0].epoch))
    clock.now += BEAT_MS + 1
    presence.beat(4)
    assert told == []  # nothing was removed
    monkeypatch.setattr(store, "erasure_epoch", lambda: 6)
    presence.beat(7)
    assert told == [4]  # before it is said
    presence.beat(8)
    assert told == [4]


def test_while_the_memory_is_busy_what_was_said_last_is_said_again(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    presence = Presence(store)
    presence.stay()
    assert store.replicas() == []
    presence.join(3, ("one",), lambda: pytest.fail("nothing new is said"))
    monkeypatch.setattr(store, "erasure_epoch", lambda: 6)
    clock.now += BEAT_MS
    presence.stay()
    assert store.replicas()[0].seen == NOW
    clock.now += 1
    presence.stay()
    (said,) = store.replicas()
    assert (said.epoch, said.adapters, said.seen) == (3, ("one",), clock.now)  # it has not followed
    presence.leave()
    clock.now += BEAT_MS + 1
    presence.stay()
    assert store.replicas() == []


def test_another_adapter_is_said_at_once_when_earlier_answers_have_left(store: Store, clock: Clock) -> None:
    told: list[tuple[str, ...]] = []
    presence = Presence(store)
    presence.join(3, ("old",), lambda: told.append(store.replicas()[0].adapters))
    assert store.replicas()[0].adapters == ("old",)
    presence.beat(3, ("old",))
    assert told == []
    presence.beat(3, ("new", "old"))
    assert (told, store.replicas()[0].adapters) == ([("old",)], ("new", "old"))
    presence.beat(3)
    assert (told[1:], store.replicas()[0].adapters) == ([("new", "old")], ())
    clock.now += BEAT_MS + 1
    presence.beat(4)
    assert len(told) == 2


def test_a_lease_is_shorter_than_the_time_after_which_nobody_waits() -> None:
    assert BEAT_MS < LEASE_MS <= EXPIRY_MS - 5_000


def test_the_clock_of_leases_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < uptime_ms() <= uptime_ms()
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)  # as on systems that do not have it
    assert 0 < uptime_ms() <= uptime_ms()


def test_who_is_silent_for_too_long_is_in_no_term_until_the_memory_has_followed(store: Store, clock: Clock) -> None:
    presence = Presence(store)
    assert presence.term == 0  # nobody waits for a process that never joined, and nothing is promised
    presence.join(3)
    assert presence.term == 1
    clock.now += LEASE_MS - 1
    assert presence.term == 1
    clock.now += 1
    assert presence.term is None
    presence.stay()  # it says nothing of the memory, so that it does not renew what is over
    assert presence.term is None
    assert presence.beat(3)
    assert presence.term == 2


def test_two_threads_that_learn_that_the_process_was_taken_off_join_again_once(store: Store, clock: Clock) -> None:
    presence = Presence(store)
    presence.join(3)
    assert presence.id is not None
    known = presence.id
    store.leave(known)
    clock.now += EXPIRY_MS
    assert not presence.beat(3)
    presence.join(3, instead_of=known)
    presence.join(3, instead_of=known)  # what the other thread does, which learned of it at the same time
    assert [replica.id for replica in store.replicas()] == [presence.id] != [known]


def test_signs_of_life_keep_a_term(store: Store, clock: Clock) -> None:
    presence = Presence(store)
    presence.join(3)
    for _ in range(10):
        clock.now += BEAT_MS + 1
        presence.stay()
        assert presence.term == 1
        clock.now += BEAT_MS + 1
        assert presence.beat(3)
        assert presence.term == 1


def test_who_was_taken_off_the_list_is_told_and_joins_as_another_one(store: Store, clock: Clock) -> None:
    presence = Presence(store)
    presence.join(3)
    before = presence.id
    clock.now += EXPIRY_MS + 1
    assert lagging(store, 5, None) == []
    assert store.replicas() == []
    assert not presence.beat(5)
    assert store.replicas() == []
    assert presence.term is None
    presence.join(5)
    assert presence.term == 2
    assert presence.id != before
    assert [replica.epoch for replica in store.replicas()] == [5]


def test_who_was_heard_of_meanwhile_is_not_taken_off_the_list(store: Store, clock: Clock) -> None:
    presence = Presence(store)
    presence.join(3)
    (read,) = store.replicas()
    clock.now += EXPIRY_MS + 1
    presence.beat(3)
    store.drop_silent(read)
    assert [replica.id for replica in store.replicas()] == [presence.id]
