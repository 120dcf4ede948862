from __future__ import annotations

import os

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.measured import write_measured
from rag_rec.adapters.removal import destroy_unused, waiting
from rag_rec.artifacts.immutable import POINTER
from rag_rec.store import SqlStore
from rag_rec.store.records import Debt
from tests.rag_rec.adapters.measuring import MEASURED
from tests.rag_rec.adapters.places import forget, put_adapter, put_base


def put_seen(store: SqlStore, compact: AdapterStore, name: str, *users: int, use: bool = False) -> str:
    adapter = put_adapter(compact, name, store.epoch(), use=use)
    store.put_lineage(adapter, dict.fromkeys(users, 1), store.epoch())
    return adapter


def test_what_saw_a_forgotten_person_and_is_not_in_use_is_overwritten(store: SqlStore, compact: AdapterStore) -> None:
    used = put_seen(store, compact, "used", 0, 1, use=True)
    old = put_seen(store, compact, "what people liked", 0, 1)
    clean = put_seen(store, compact, "clean", 0)
    assert destroy_unused(compact, store) == []
    forget(store, "b")
    descriptor = os.open(compact.adapters / old / "weights", os.O_RDONLY)
    try:
        assert destroy_unused(compact, store) == [old]
        assert set(os.read(descriptor, 100)) == {0}
    finally:
        os.close(descriptor)
    assert set(compact.adapter_digests()) == {used, clean}
    assert store.debts() == [Debt("request of b", used)]
    assert not store.has_lineage(old)
    assert destroy_unused(compact, store) == []


def test_without_one_in_use_all_that_saw_the_person_go(store: SqlStore, compact: AdapterStore) -> None:
    old, clean = put_seen(store, compact, "old", 1), put_seen(store, compact, "clean", 0)
    forget(store, "b")
    assert destroy_unused(compact, store) == [old]
    assert compact.adapter_digests() == [clean]
    assert store.debts() == []


def test_one_of_which_nobody_knows_whom_it_saw_goes_once_it_is_older_than_a_removal(
    store: SqlStore, compact: AdapterStore
) -> None:
    old = put_adapter(compact, "old", store.epoch())
    assert destroy_unused(compact, store) == []
    forget(store, "b")
    new = put_adapter(compact, "new", store.epoch())
    assert destroy_unused(compact, store) == [old]
    assert compact.adapter_digests() == [new]


def test_what_a_crash_left_goes(store: SqlStore, compact: AdapterStore) -> None:
    used = put_seen(store, compact, "used", 0, use=True)
    unfinished = compact.adapters / "building-1"
    unfinished.mkdir()
    (unfinished / "weights").write_text("what people liked")
    store.put_lineage("f" * 32, {1: 1}, store.epoch())
    forget(store, "b")
    assert store.debts() == [Debt("request of b", "f" * 32)]
    assert destroy_unused(compact, store) == []
    assert compact.unfinished_adapters() == []
    assert store.debts() == []
    assert compact.adapter_digests() == [used]


def test_nothing_goes_while_nobody_can_tell_what_is_in_use(store: SqlStore, compact: AdapterStore) -> None:
    adapter = put_seen(store, compact, "used", 1, use=True)
    (compact.root / POINTER).write_text("{")
    forget(store, "b")
    assert destroy_unused(compact, store) == []
    assert compact.adapter_digests() == [adapter]
    assert store.debts() == [Debt("request of b", adapter)]


def test_where_there_are_no_adapters_none_owes_anything_and_nothing_is_made(
    store: SqlStore, compact: AdapterStore
) -> None:
    store.put_lineage("f" * 32, {1: 1}, store.epoch())
    forget(store, "b")
    assert destroy_unused(compact, store) == []
    assert store.debts() == []
    assert not compact.root.exists()


def put_mended(store: SqlStore, compact: AdapterStore) -> str:
    """An adapter that a request left by a removal that is not exact."""
    made = compact.publish_adapter(
        lambda folder: write_measured(folder, {"r": MEASURED}),
        base=put_base(compact),
        epoch=store.epoch(),
        settings={},
        counts={},
    )
    store.put_lineage(made.digest, {0: 1}, store.epoch(), {"r": MEASURED.text()})
    return made.digest


def test_what_came_out_of_a_removal_that_is_not_exact_exists_only_in_use(
    store: SqlStore, compact: AdapterStore
) -> None:
    mended = put_mended(store, compact)
    compact.set_current(put_base(compact), mended)
    assert destroy_unused(compact, store) == []
    assert [each.adapter for each in store.measured_removals()] == [mended]
    put_seen(store, compact, "trained", 0, use=True)
    assert destroy_unused(compact, store) == [mended]
    assert store.measured_removals() == []


def test_what_was_measured_of_an_adapter_that_vanished_is_dropped(store: SqlStore, compact: AdapterStore) -> None:
    put_seen(store, compact, "used", 0, use=True)
    store.put_lineage("f" * 32, {1: 1}, store.epoch(), {"r": MEASURED.text()})
    destroy_unused(compact, store)
    assert store.measured_removals() == []


def test_requests_wait_for_the_adapter_in_use(store: SqlStore, compact: AdapterStore) -> None:
    assert waiting(compact, store) == []
    put_seen(store, compact, "used", 0, 1, 2, use=True)
    put_seen(store, compact, "other", 2)
    assert waiting(compact, store) == []
    for user in "cb":
        forget(store, user)
    assert waiting(compact, store) == ["request of b", "request of c"]
