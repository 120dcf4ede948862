"""A data folder of an earlier version, made by ``old_folder/make.sh``, is opened, answers, and goes on forgetting.

It was made by commit 6023328: before data folders were places, index files were signed and private, and events had
rules. It holds 48 people, two removals that wait for the adapter to be trained again (all of ``person-3``, and
``film-13`` of ``person-5``), a legal hold on ``person-9``, and a backup from before the removals.
"""

from __future__ import annotations

import json
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rag_rec import RecommendationRequest, Settings, open_engine
from rag_rec.domain import Source
from tests.rag_rec.commands.asking import call

MADE = Path(__file__).parent / "old_folder" / "folder.tar.gz"
WAITING = {"user", "interactions"}
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    with tarfile.open(MADE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def ask(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command and read its answer."""

    def answer(*arguments: str, code: int = 0) -> dict[str, Any]:
        assert call(monkeypatch, home, *arguments, "--json") == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return answer


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def states(ask: Ask) -> dict[str, str]:
    return {each["scope"]: each["state"] for each in ask("forget", "list")["requests"]}


def test_it_answers_from_a_persons_own_history_and_knows_nobody_who_was_forgotten(home: Path) -> None:
    with open_engine(Settings(home=home)) as engine:
        known = engine.recommend(RecommendationRequest("person-5", k=5))
        assert known.provenance.source is Source.CANDIDATES
        assert {reason.item_id for item in known.items for reason in item.reasons}
        assert "film-9" not in {item.item_id for item in known.items}  # seen
        forgotten = engine.recommend(RecommendationRequest("person-3", k=5))
        assert not forgotten.provenance.known_user
        assert forgotten.provenance.source is Source.POPULARITY


def test_its_ledger_and_its_receipts_stay_good(ask: Ask, tmp_path: Path) -> None:
    assert ask("ledger", "verify")["entries"] == 5
    for request in ask("forget", "list")["requests"]:
        receipt = tmp_path / request["request"]
        ask("receipt", "show", request["request"], "--to", str(receipt))
        assert ask("receipt", "verify", str(receipt))["ok"]


def test_what_waits_for_the_adapter_ends_when_it_is_trained_again(ask: Ask) -> None:
    assert states(ask) == dict.fromkeys(WAITING, "effective")
    assert ask("adapter", "retrain")["settled"] == 2
    assert states(ask) == dict.fromkeys(WAITING, "complete")


def test_a_person_is_forgotten_from_it_completely(ask: Ask, home: Path) -> None:
    plan = ask("forget", "user", "person-7", "--dry-run")["plan"]
    request = ask("forget", "user", "person-7", "--plan", plan, "--confirm", "person-7")["request_id"]
    ask("adapter", "retrain")
    assert ask("forget", "status", request)["state"] == "complete"
    receipt = ask("receipt", "show", request)
    assert {each["layer"]: each["status"] for each in receipt["layers"]}["vector_indices"] == "PROVEN"
    backup = home / "before.backup"
    for path in files(home):
        text = path.read_bytes()
        assert path == backup or (b"person-7" not in text and b"note of person-7" not in text), path


def test_a_hold_stays_in_force(ask: Ask) -> None:
    plan = ask("forget", "user", "person-9", "--dry-run")
    assert plan["held"]
    refused = ask("forget", "user", "person-9", "--plan", plan["plan"], "--confirm", "person-9", code=1)
    assert refused["error"]["code"] == "legal_hold"


def test_its_backup_is_restored_without_those_who_were_forgotten_since(ask: Ask, home: Path) -> None:
    ask("restore", str(home / "before.backup"))
    assert ask("export", "person-3", code=1)["error"]["code"] == "unknown_user"
    assert "film-13" not in {each["item_id"] for each in ask("export", "person-5")["interactions"]}
    assert ask("export", "person-6")["interactions"]


def test_its_files_become_private_when_it_is_opened(home: Path) -> None:
    def loose() -> list[Path]:
        return [path for path in home.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]

    assert loose()
    with open_engine(Settings(home=home)):
        assert loose() == []


def test_a_rebuild_signs_its_index(ask: Ask) -> None:
    ask("index", "rebuild")
    assert ask("index", "verify")["ok"]
    assert not [each for each in ask("doctor")["findings"] if each["part"] == "index" and each["state"] != "ok"]
