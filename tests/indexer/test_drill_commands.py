from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import pytest

from indexer.drill_commands import app
from indexer.system_copy import back_up
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.homes import fill
from tests.rag_rec.commands.asking import printed
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, log


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGREC_INTEREST_CLUSTERS", "4")
    monkeypatch.setattr("indexer.drill_commands.open_embedder", lambda *_: HashEmbedder())
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    made = Settings()
    fill(made, log())
    return made


run = partial(printed, app)


def test_the_drill_leaves_nothing_behind(settings: Settings, tmp_path: Path) -> None:
    drilled = run()
    assert drilled["ok"]
    assert [attempt["held"] for attempt in drilled["attempts"]] == [True] * 6
    assert list((tmp_path / "temporary").iterdir()) == []
    assert settings.home.is_dir()


def test_a_backup_can_be_drilled(settings: Settings, tmp_path: Path) -> None:
    back_up(settings, tmp_path / "old.backup")
    forget_in(settings, CANARY)
    drilled = run("--backup", str(tmp_path / "old.backup"))
    assert drilled["attempts"][0]["seen"].startswith("0 of 1 people")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_drill_that_finds_somebody_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    back_up(settings, tmp_path / "old.backup")
    forget_in(settings, CANARY)
    monkeypatch.setattr("rag_rec.copies.replay.Replay.apply", lambda *_: None)
    assert not run("--backup", str(tmp_path / "old.backup"), code=1)["ok"]
    assert list((tmp_path / "temporary").iterdir()) == []
