from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.memory import POLL_SECONDS, lingering, wait_for_release
from rag_rec.presence.replicas import present
from rag_rec.store import SqlStore
from tests.rag_rec.adapters.places import put_adapter


def test_adapters_of_running_services_linger_once_they_are_gone_from_disk(
    store: SqlStore, compact: AdapterStore
) -> None:
    assert lingering(store, compact) == set()
    held = put_adapter(compact, "held", store.epoch())
    store.beat(present("one", 1, (held, "gone")))
    store.beat(present("two", 1, ("gone", "lost")))
    store.beat(present("none", 1))
    assert lingering(store, compact) == {"gone", "lost"}


def test_a_service_that_has_ended_holds_nothing(store: SqlStore, compact: AdapterStore) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    store.beat(replace(present("ended", 1, ("gone",)), process=ended.pid))
    store.beat(replace(present("silent", 1, ("gone",)), seen=0))
    assert lingering(store, compact) == set()


def test_services_are_waited_for_until_they_let_go(store: SqlStore, compact: AdapterStore) -> None:
    waited: list[float] = []

    def let_go(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            store.beat(present("one", 1))

    store.beat(present("one", 1, ("gone",)))
    wait_for_release(store, compact, 10_000, let_go)
    assert waited == [POLL_SECONDS] * 3


def test_and_not_for_longer_than_they_are_given(store: SqlStore, compact: AdapterStore) -> None:
    waited: list[float] = []
    store.beat(present("one", 1, ("gone",)))
    wait_for_release(store, compact, 100, waited.append)
    assert waited == [POLL_SECONDS] * 5
    wait_for_release(store, compact, 0, waited.append)
    assert len(waited) == 5
