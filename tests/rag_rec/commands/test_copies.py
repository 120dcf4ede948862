from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from rag_rec.commands.copies import app
from rag_rec.settings import Settings
from tests.homes import fill
from tests.rag_rec.commands.asking import printed
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.stores import people_in


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    made = Settings()
    fill(made, log())
    return made


run = partial(printed, app)


def test_backs_up_and_restores_without_the_forgotten(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "store.backup"
    made = run("backup", str(file))
    assert (made["users"], made["items"], made["interactions"]) == (6, 12, len(log()))
    assert made["bytes"] == file.stat().st_size
    forget_in(settings, CANARY)
    restored = run("restore", str(file))
    assert restored["replayed"]["users_removed"] == 1
    assert restored["warning"] is None
    assert "rag-rec index build" in restored["next"]
    assert CANARY not in people_in(settings)


def test_a_restore_without_any_ledger_needs_to_be_told(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "store.backup"
    run("backup", str(file))
    assert run("restore", str(file), code=1)["error"]["code"] == "confirmation_required"
    restored = run("restore", str(file), "--without-later-erasures")
    assert (restored["ledger"], "people who were forgotten since" in restored["warning"]) == (0, True)
    assert CANARY in people_in(settings)


def test_a_ledger_that_is_no_newer_than_the_backup_is_warned_of(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, "user-1")
    file, copy = tmp_path / "store.backup", tmp_path / "ledger.jsonl"
    run("backup", str(file))
    copy.write_bytes(settings.ledger_file.read_bytes())
    forget_in(settings, CANARY)
    settings.ledger_file.unlink()
    for path in settings.home.glob("store.sqlite3*"):
        path.unlink()
    restored = run("restore", str(file), "--ledger", str(copy))
    assert (restored["replayed"], "no newer than the backup" in restored["warning"]) == ({}, True)
    assert CANARY in people_in(settings)


def test_the_ledger_may_be_given(settings: Settings, tmp_path: Path) -> None:
    file, copy = tmp_path / "store.backup", tmp_path / "ledger.jsonl"
    run("backup", str(file))
    forget_in(settings, CANARY)
    settings.ledger_file.rename(copy)
    for path in settings.home.glob("store.sqlite3*"):
        path.unlink()
    assert run("restore", str(file), "--ledger", str(tmp_path / "none"), code=1)["error"]["code"] == "invalid_input"
    assert run("restore", str(file), "--ledger", str(copy))["ledger"] == 2
    assert CANARY not in people_in(settings)
