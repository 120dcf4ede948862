from __future__ import annotations

import pytest

from rag_rec.adapters.folder import AdapterStore, InUse
from rag_rec.adapters.publishing import activate
from rag_rec.errors import InvalidInput
from rag_rec.store import SqlStore
from tests.rag_rec.adapters.places import forget, put_adapter, put_base


def test_an_adapter_that_saw_a_forgotten_person_is_refused(store: SqlStore, compact: AdapterStore) -> None:
    base = put_base(compact)
    saw, clean, unknown = (put_adapter(compact, name, store.epoch()) for name in ("saw", "clean", "unknown"))
    for adapter, user in ((saw, 1), (clean, 0)):
        store.put_lineage(adapter, {user: 1}, store.epoch())
    activate(store, compact, InUse(base, saw))
    forget(store, "b")
    for adapter in (saw, unknown):
        with pytest.raises(InvalidInput, match="adapter retrain"):
            activate(store, compact, InUse(base, adapter))
    assert compact.current() == InUse(base, saw)
    activate(store, compact, InUse(base, clean))
    assert compact.current() == InUse(base, clean)


@pytest.mark.parametrize("who", ["the base alone", "another adapter"])
def test_the_one_in_use_before_is_destroyed_if_it_saw_one(store: SqlStore, compact: AdapterStore, who: str) -> None:
    base, saw = put_base(compact), put_adapter(compact, "saw", store.epoch(), use=True)
    store.put_lineage(saw, {1: 2}, store.epoch())
    forget(store, "b")
    other = None if who == "the base alone" else put_adapter(compact, "new", store.epoch())
    activate(store, compact, InUse(base, other))
    assert compact.current() == InUse(base, other)
    assert saw not in compact.adapter_digests()
    assert store.debts() == []


def test_an_adapter_of_unknown_lineage_may_be_used_while_nobody_was_forgotten(
    store: SqlStore, compact: AdapterStore
) -> None:
    base, adapter = put_base(compact), put_adapter(compact, "unknown", store.epoch())
    activate(store, compact, InUse(base, adapter))
    assert compact.current() == InUse(base, adapter)
