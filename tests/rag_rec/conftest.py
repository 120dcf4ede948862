"""Systems on SQLite, and on PostgreSQL where its binaries are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_rec.settings import Settings
from tests.homes import settings_for
from tests.rag_rec.store.conftest import new_database, postgres_server

__all__ = ["postgres_server"]


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a system without any data."""
    if request.param == "sqlite":
        return settings_for(tmp_path / "home")
    return settings_for(tmp_path / "home", store_url=new_database(request.getfixturevalue("postgres_server")))
