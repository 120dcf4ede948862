from __future__ import annotations

import pytest

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.lineage import adapter_in_use, adapters_that_saw, ensure_lineage, outdated, owing, unrecorded
from rag_rec.artifacts.immutable import POINTER
from rag_rec.errors import Busy
from rag_rec.store import SqlStore
from tests.rag_rec.adapters.places import forget, put_adapter, put_base


def test_an_adapter_without_a_lineage_is_taken_to_have_seen_everybody(store: SqlStore, compact: AdapterStore) -> None:
    adapter = put_adapter(compact, "old", store.epoch())
    assert adapters_that_saw(store, compact, 1) == []
    assert unrecorded(store, compact) == [adapter]
    ensure_lineage(store, compact)
    assert store.lineage(adapter) == {0: 1, 1: 2, 2: 3}
    assert adapters_that_saw(store, compact, 1) == [adapter]
    assert unrecorded(store, compact) == []


def test_a_lineage_that_is_there_stays(store: SqlStore, compact: AdapterStore) -> None:
    adapter = put_adapter(compact, "new", store.epoch())
    store.put_lineage(adapter, {2: 3}, store.epoch())
    ensure_lineage(store, compact)
    assert store.lineage(adapter) == {2: 3}


def test_an_adapter_is_not_recorded_anew_when_all_that_it_saw_are_forgotten(
    store: SqlStore, compact: AdapterStore
) -> None:
    adapter = put_adapter(compact, "new", store.epoch(), use=True)
    store.put_lineage(adapter, {1: 2}, store.epoch())
    forget(store, "b")
    ensure_lineage(store, compact)
    assert (store.lineage(adapter), owing(store)) == ({}, {adapter})


def test_one_that_is_older_than_a_removal_is_recorded_only_where_it_is_in_use(
    store: SqlStore, compact: AdapterStore
) -> None:
    used, other = put_adapter(compact, "used", store.epoch(), use=True), put_adapter(compact, "other", store.epoch())
    forget(store, "b")
    newer = put_adapter(compact, "newer", store.epoch())
    assert [outdated(store, compact, adapter) for adapter in (used, other, newer)] == [True, True, False]
    ensure_lineage(store, compact)
    assert unrecorded(store, compact) == [other]
    assert store.lineage(used) == store.lineage(newer) == {0: 1, 2: 3}


def test_an_adapter_that_is_gone_did_not_see_anybody(store: SqlStore, compact: AdapterStore) -> None:
    store.put_lineage("f" * 32, {1: 2}, store.epoch())
    assert adapters_that_saw(store, compact, 1) == []


def test_a_removal_meanwhile_is_not_overlooked(
    store: SqlStore, compact: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_adapter(compact, "old", store.epoch(), use=True)
    histories = store.histories

    def late() -> object:
        found = list(histories())
        forget(store, "b")
        return found

    monkeypatch.setattr(store, "histories", late)
    with pytest.raises(Busy, match="try again"):
        ensure_lineage(store, compact)


def test_the_adapter_in_use_is_known_as_long_as_its_pointer_can_be_read(compact: AdapterStore) -> None:
    assert adapter_in_use(compact) is None
    adapter = put_adapter(compact, "new", 3, use=True)
    assert adapter_in_use(compact) == adapter
    compact.set_current(put_base(compact))
    assert adapter_in_use(compact) is None
    (compact.root / POINTER).write_text("{")
    assert adapter_in_use(compact) is None
