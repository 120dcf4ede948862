"""A store with a few items, and the epochs that are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rag_rec.compact.training import AdapterTraining
from rag_rec.domain import Item
from rag_rec.store import SqlStore, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{tmp_path / 'home' / 'store.sqlite3'}")
    store.put_items([Item(f"i{n}", f"title {n}") for n in range(5)])
    yield store
    store.close()


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that have been trained, as they begin."""
    begun: list[int] = []
    original = AdapterTraining.epoch

    def noted(self: AdapterTraining, told: Callable[[float], None]) -> float:
        begun.append(self.finished)
        return original(self, told)

    monkeypatch.setattr(AdapterTraining, "epoch", noted)
    return begun
