from __future__ import annotations

from pathlib import Path

import pytest

from rag_rec.forgetting.rights.access import export
from rag_rec.home.opening import store_of
from tests.homes import fill, settings_for
from tests.rag_rec.forgetting.homes import CANARY, log


def test_an_export_during_which_somebody_was_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    store = store_of(settings)
    epochs = iter([3, 4, 4, 4])
    monkeypatch.setattr(store, "erasure_epoch", lambda: next(epochs))
    user, rows = export(store, CANARY)
    assert (user.id, len(rows), next(epochs, None)) == (CANARY, 6, None)
    store.close()
