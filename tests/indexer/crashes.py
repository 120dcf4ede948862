"""Where a removal may be killed between publishing an adapter and its use."""

from __future__ import annotations

import pytest

from rag_rec.adapters.folder import AdapterStore
from rag_rec.store import SqlStore
from tests.indexer.compact_homes import Stopped


def crash_at_lineage(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_lineage(*_: object, **__: object) -> None:
        raise Stopped

    monkeypatch.setattr(SqlStore, "put_lineage", put_lineage)


def crash_at_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def set_current(*_: object, **__: object) -> None:
        raise Stopped

    monkeypatch.setattr(AdapterStore, "set_current", set_current)
