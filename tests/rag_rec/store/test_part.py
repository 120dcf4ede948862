from __future__ import annotations

from collections import Counter

from rag_rec.store import SqlStore
from rag_rec.store.part import Part
from rag_rec.store.protocol import Store


def test_no_part_of_the_store_hides_a_method_of_another() -> None:
    parts = [part for part in SqlStore.__mro__ if issubclass(part, Part) and part not in {SqlStore, Part}]
    names = Counter(name for part in parts for name in vars(part) if not name.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_parts_together_have_every_method_of_the_protocol() -> None:
    assert [name for name in vars(Store) if not name.startswith("_") and not hasattr(SqlStore, name)] == []
