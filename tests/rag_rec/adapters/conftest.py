"""A store with three people and a folder for adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.adapters.folder import AdapterStore
from rag_rec.domain import Interaction, Item
from rag_rec.store import SqlStore, open_store
from tests.rag_rec.store.reference_privacy import PSEUDONYMS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """Users ``a`` (number 0) with one interaction, ``b`` with two, and ``c`` with three."""
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}", pseudonyms=PSEUDONYMS)
    store.put_items([Item(f"i{n}", f"title {n}") for n in range(3)])
    store.append([Interaction(user, f"i{n}", n, "like") for count, user in enumerate("abc", 1) for n in range(count)])
    yield store
    store.close()


@pytest.fixture
def compact(tmp_path: Path) -> AdapterStore:
    """There is nothing in it yet."""
    return AdapterStore(tmp_path / "compact")
