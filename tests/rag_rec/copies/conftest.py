from __future__ import annotations

from pathlib import Path

import pytest

from rag_rec.settings import Settings
from tests.homes import fill
from tests.rag_rec.forgetting.homes import log
from tests.rag_rec.forgetting.stores import (
    back_up,
)


@pytest.fixture
def settings(either: Settings) -> Settings:
    """A system on either database, with six people."""
    fill(either, log())
    return either


@pytest.fixture
def backup(settings: Settings, tmp_path: Path) -> Path:
    """A backup of it that holds all of them."""
    back_up(settings, tmp_path / "old.backup")
    return tmp_path / "old.backup"
