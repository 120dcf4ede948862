from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from rag_rec.commands.ledger import app
from rag_rec.forgetting.ledger.chain import EMPTY, make_entry
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.home.opening import store_of
from rag_rec.identity.signing import Signer
from rag_rec.settings import Settings
from rag_rec.store import open_store
from rag_rec.store.records import LedgerEntry
from tests.rag_rec.forgetting.records import accepted, issued


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    return Settings()


def call(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["ledger", *map(str, arguments), "--json"])
    return result.exit_code, orjson.loads(result.stdout)


def stored(settings: Settings) -> list[LedgerEntry]:
    store = store_of(settings)
    try:
        return store.ledger()
    finally:
        store.close()


def new_store(settings: Settings) -> None:
    """A store in which nothing is, made without a key."""
    open_store(settings.database_url).close()


def failure(*arguments: str | Path, code: str = "broken_ledger") -> str:
    status, answer = call(*arguments)
    assert (status, answer["error"]["code"]) == (1, code)
    return str(answer["error"]["message"])


def test_the_ledger_of_a_store_where_nobody_was_forgotten_is_empty(settings: Settings) -> None:
    store_of(settings).close()
    code, answer = call("verify")
    assert code == 0
    assert answer == {"ok": True, "entries": 0, "digest": EMPTY.digest, "file": str(settings.ledger_file)}


def test_a_ledger_and_its_copy_are_verified(settings: Settings) -> None:
    issued(settings, accepted(settings, "ada"))
    LedgerFile(settings.ledger_file).extend(stored(settings))
    code, answer = call("verify")
    assert (code, answer["entries"], answer["digest"]) == (0, 2, stored(settings)[-1].digest)


def test_an_exported_ledger_can_be_verified_and_brought_up_to_date(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "export" / "ledger.jsonl"
    issued(settings, accepted(settings, "ada"))
    assert call("export", file)[0] == 0
    accepted(settings, "bob")
    assert "lacks the newest 1 entries" in failure("verify", "--file", file)
    code, answer = call("export", file)
    assert (code, answer["entries"], answer["file"]) == (0, 3, str(file))
    assert call("verify", "--file", file)[0] == 0
    assert LedgerFile(file).read() == stored(settings)


def test_a_copy_that_differs_is_found(settings: Settings) -> None:
    issued(settings, accepted(settings, "ada"))
    copy = LedgerFile(settings.ledger_file)
    copy.extend([make_entry(EMPTY, "erasure", {"request": "another"}, Signer(b"f" * 32))])
    assert "differs from the store's, which is sound, from entry 1 on" in failure("verify")
    assert "not the same" in failure("export", copy.path)


def test_a_store_that_was_cut_is_found(settings: Settings) -> None:
    issued(settings, accepted(settings, "ada"))
    call("export", settings.ledger_file)
    for path in settings.home.glob("store.sqlite3*"):
        path.unlink()
    assert "rag-rec restore" in failure("verify", code="no_system")
    new_store(settings)
    assert "lacks 2 entries" in failure("verify")


def test_a_ledger_signed_with_another_key_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    issued(settings, accepted(settings, "ada"))
    monkeypatch.setenv("RAGREC_SIGNING_KEY", base64.b64encode(b"o" * 32).decode())
    assert "is not the key that signed the ledger" in failure("verify", code="wrong_key")
    assert "is not the key that signed the ledger" in failure("export", settings.ledger_file, code="wrong_key")
    assert not settings.ledger_file.exists()


def test_no_keys_are_made(settings: Settings, tmp_path: Path) -> None:
    new_store(settings)
    assert call("verify")[0] == call("export", tmp_path / "ledger.jsonl")[0] == 0
    assert not settings.keys.exists()
    issued(settings, accepted(settings, "ada"))
    assert call("export", settings.ledger_file)[0] == 0
    for path in settings.keys.iterdir():
        path.unlink()
    assert "none was made" in failure("verify", code="wrong_key")
    assert list(settings.keys.iterdir()) == []


def test_the_first_entry_that_differs_is_named(settings: Settings) -> None:
    issued(settings, accepted(settings, "ada"))
    issued(settings, accepted(settings, "bob"))
    call("export", settings.ledger_file)
    settings.ledger_file.write_text(settings.ledger_file.read_text().replace("of-bob", "of-eve"))
    assert "from entry 3 on" in failure("verify")
