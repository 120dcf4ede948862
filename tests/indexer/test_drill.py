"""The drill shows that nobody comes back, and it shows it when somebody does."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.drill import Attempt, Drill, check_backup
from indexer.system_copy import SystemCopy, back_up
from rag_rec.artifacts.digests import relative_files
from rag_rec.errors import BrokenLedger, InvalidInput, RagRecError
from rag_rec.progress.protocol import Silent
from rag_rec.settings import Settings
from rag_rec.store.database import Database
from rag_rec.store.scrubbing import scrub
from tests.embedders import HashEmbedder
from tests.homes import build, fill, settings_for
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.stores import differing, rows_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = settings_for(tmp_path / "home")
    fill(made, log())
    return made


def drilled(settings: Settings, folder: Path) -> list[Attempt]:
    folder.mkdir()
    copy = SystemCopy.under(folder, settings, HashEmbedder(), Silent())
    return list(Drill(settings, copy, folder).run())


def content(folder: Path) -> dict[str, bytes]:
    """Every file but the store's: opening a SQLite database counts as a change in its header."""
    return {name: (folder / name).read_bytes() for name in relative_files(folder) if "sqlite3" not in name}


def failed(attempts: list[Attempt]) -> dict[str, str]:
    return {attempt.attempt: attempt.seen for attempt in attempts if not attempt.held}


def test_nobody_comes_back_and_the_system_is_only_read(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, "user-4")
    build(settings)
    before, rows = content(settings.home), rows_of(settings)
    attempts = drilled(settings, tmp_path / "drill")
    assert failed(attempts) == {}
    assert [attempt.seen for attempt in attempts] == ["nothing is left"] * 6
    assert content(settings.home) == before
    assert differing(rows, rows_of(settings)) == []


def test_a_system_without_an_index_can_be_drilled(settings: Settings, tmp_path: Path) -> None:
    assert failed(drilled(settings, tmp_path / "drill")) == {}


def test_a_system_without_items_cannot_be_drilled(tmp_path: Path) -> None:
    empty = settings_for(tmp_path / "empty")
    fill(empty, [], [])
    with pytest.raises(InvalidInput, match="no items"):
        drilled(empty, tmp_path / "drill")


def skip_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_rec.copies.replay.Replay.apply", lambda *_: None)


def admit_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_rec.store.suppressions.suppress", lambda *_: None)
    monkeypatch.setattr("rag_rec.store.acceptance.suppress", lambda *_: None)
    monkeypatch.setattr("rag_rec.copies.replay.suppress", lambda *_: None)


def break_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.drill.verify_chain", refuse)


def refuse(*_: object) -> None:
    raise BrokenLedger("broken")


def leave_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def scrub_and_leave(database: Database) -> None:
        scrub(database)
        backup = database.path.parents[1] / "with-canary.backup"
        if backup.exists():
            with tarfile.open(backup) as archive:
                users = archive.extractfile("users/000000.parquet")
                assert users is not None
                ids = pl.read_parquet(io.BytesIO(users.read()))["id"].to_list()
            (database.path.parent / "forgotten.tmp").write_text("\n".join(ids))

    monkeypatch.setattr("rag_rec.copies.restore.scrub", scrub_and_leave)


@pytest.mark.parametrize(
    ("fault", "attempt", "seen"),
    [
        (skip_replay, "restore a backup that holds the person", "the person is in the store"),
        (skip_replay, "build the index anew", "the person is in the index"),
        (skip_replay, "build the index anew", "the recommender knows the person"),
        (admit_everybody, "ingest a file with the person's events", "6 events were taken"),
        (admit_everybody, "send the person's events late", "0 events were taken"),
        (admit_everybody, "put the person's attributes", "the person was taken"),
        (break_ledger, "restore a backup that holds the person", "the ledger is broken"),
        (leave_a_trace, "restore a backup that holds the person", "1 traces in 1 files"),
    ],
)
def test_a_fault_is_seen(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any, attempt: str, seen: str
) -> None:
    fault(monkeypatch)
    assert seen in failed(drilled(settings, tmp_path / "drill"))[attempt]


def test_a_person_who_cannot_be_found_at_first_shows_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.drill.traces_of", lambda *_: _Nothing())
    with pytest.raises(RagRecError, match="no trace"):
        drilled(settings, tmp_path / "drill")


class _Nothing:
    occurrences = files = 0


@pytest.fixture
def copied(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    (tmp_path / "drill").mkdir()
    yield SystemCopy.under(tmp_path / "drill", settings, HashEmbedder(), Silent()).settings


def test_an_old_backup_of_the_system_brings_nobody_back(settings: Settings, tmp_path: Path, copied: Settings) -> None:
    back_up(settings, tmp_path / "old.backup")
    forget_in(settings, CANARY)
    attempt = check_backup(tmp_path / "old.backup", settings, copied)
    assert attempt.held
    assert attempt.seen == "0 of 1 people and 0 of 0 events that were forgotten are back"


def test_an_old_backup_that_brings_somebody_back_is_seen(
    settings: Settings, tmp_path: Path, copied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(settings, tmp_path / "old.backup")
    forget_in(settings, CANARY)
    skip_replay(monkeypatch)
    attempt = check_backup(tmp_path / "old.backup", settings, copied)
    assert not attempt.held
    assert attempt.seen.startswith("1 of 1 people")


def test_without_a_ledger_of_the_system_there_is_nothing_to_compare(
    settings: Settings, tmp_path: Path, copied: Settings
) -> None:
    back_up(settings, tmp_path / "old.backup")
    attempt = check_backup(tmp_path / "old.backup", settings, copied)
    assert attempt == Attempt(
        "restore this backup", True, "0 of 0 people and 0 of 0 events that were forgotten are back"
    )
