"""A store with a few items."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.domain import Item
from rag_rec.store import SqlStore, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{tmp_path / 'home' / 'store.sqlite3'}")
    store.put_items([Item(f"i{n}", f"title {n}") for n in range(5)])
    yield store
    store.close()
