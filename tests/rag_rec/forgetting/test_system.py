from __future__ import annotations

import base64
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rag_rec.artifacts.private import write_durably
from rag_rec.commands.copies import app
from rag_rec.errors import WrongKey
from rag_rec.settings import Settings
from rag_rec.store.records import LedgerEntry
from tests.homes import build, engine_of, fill
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.stores import identities_of, open_store_of, people_in

OTHER = base64.b64encode(b"o" * 32).decode()


@pytest.fixture
def settings(either: Settings) -> Settings:
    """A system in which a person was forgotten, on either database."""
    fill(either, log())
    forget_in(either, "user-0")
    return either


def with_another_key(settings: Settings) -> Settings:
    return Settings.model_validate({**settings.model_dump(), "signing_key": OTHER})


def ledger(settings: Settings) -> list[LedgerEntry]:
    with open_store_of(settings) as store:
        return store.ledger()


def test_nothing_is_done_under_another_signing_key(settings: Settings) -> None:
    before, other = ledger(settings), with_another_key(settings)
    with pytest.raises(WrongKey, match="not the key that signed the ledger"):
        forget_in(other, CANARY)
    with pytest.raises(WrongKey), identities_of(other) as identities:
        identities.hold(CANARY, "file 7")
    assert CANARY in people_in(settings)
    assert ledger(settings) == before
    forget_in(settings, CANARY)
    assert CANARY not in people_in(settings)


def test_a_lost_signing_key_is_not_replaced(settings: Settings) -> None:
    key = settings.keys / "signing.key"
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(WrongKey, match=f"put {key} back"):
        forget_in(settings, CANARY)
    assert not key.exists()
    assert CANARY in people_in(settings)
    write_durably(key, kept)
    forget_in(settings, CANARY)


def test_an_engine_does_not_open_with_another_signing_key(settings: Settings) -> None:
    build(settings)
    with pytest.raises(WrongKey):
        engine_of(with_another_key(settings))
    with closing(engine_of(settings)) as engine:
        assert engine.status().ledger_copy_lag == 0
        settings.ledger_file.unlink()
        assert engine.status().ledger_copy_lag == 2


def test_no_backup_is_signed_with_another_key(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGREC_HOME", str(settings.home))
    monkeypatch.setenv("RAGREC_STORE_URL", settings.database_url)
    monkeypatch.setenv("RAGREC_SIGNING_KEY", OTHER)
    target = tmp_path / "store.backup"
    result = CliRunner().invoke(app, ["backup", str(target), "--json"])
    assert result.exit_code == 1
    assert "wrong_key" in result.output
    assert not target.exists()
