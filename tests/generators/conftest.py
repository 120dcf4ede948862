"""Tiny models, made once for all tests of generators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.generators.models import tiny_adapter, tiny_item_model


@pytest.fixture(scope="session")
def item_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny item model."""
    return tiny_item_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="session")
def adapters(item_model: Path) -> tuple[Path, Path]:
    """Folders of two adapters of it, named like digests."""
    first, second = (item_model.parent / "adapters" / (letter * 32) for letter in "ab")
    return tiny_adapter(item_model, first, seed=1), tiny_adapter(item_model, second, seed=2)
