"""The secrets for compose: what is made, who can read it, and that nothing is ever replaced."""

from __future__ import annotations

import stat
from pathlib import Path

import orjson

from rag_rec.home.keys import existing_pseudonyms, existing_signer
from rag_rec.settings import Settings
from serving.auth import Keyring
from serving.key_file import read_keys
from tools.docker_secrets import make


def test_what_is_made_is_what_the_service_takes(tmp_path: Path) -> None:
    make(tmp_path)
    kept = tmp_path / "secrets"
    settings = Settings(pseudonym_key_file=kept / "pseudonym.key", signing_key_file=kept / "signing.key")
    assert existing_pseudonyms(settings).key_id
    assert existing_signer(settings).key_id
    Keyring.from_settings(read_keys(kept / "api" / "api-keys.json"))
    lines = (tmp_path / ".env").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert len(values["POSTGRES_PASSWORD"]) > 30
    roles = orjson.loads((kept / "api" / "api-keys.json").read_bytes())
    assert roles[values["PROMETHEUS_KEY"]] == ["metrics"]


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_nothing_that_is_there_is_replaced(tmp_path: Path) -> None:
    content = {path: path.read_bytes() for path in make(tmp_path)}
    (tmp_path / "secrets" / "api" / "api-keys.json").unlink()
    assert make(tmp_path) == [tmp_path / "secrets" / "api" / "api-keys.json"]
    for path, before in content.items():
        if path.exists() and path.name != "api-keys.json":
            assert path.read_bytes() == before
    environment = (tmp_path / ".env").read_text()
    assert any(f"PROMETHEUS_KEY={key}" in environment for key in orjson.loads(made_keys(tmp_path)))


def made_keys(folder: Path) -> bytes:
    return (folder / "secrets" / "api" / "api-keys.json").read_bytes()
