"""API keys in a file: what is read, what is refused, and that changes need no restart."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.requests import Request
from typer.testing import CliRunner

from rag_rec.commands.app import build_app
from rag_rec.errors import InvalidInput, RagRecError, Unauthorized, WrongKey
from rag_rec.settings import Settings
from serving.auth import Keyring, Role
from serving.key_file import open_keyring
from serving.logs import open_log

FIRST, SECOND = "first-key-of-the-test", "second-key-of-the-test"


def write(path: Path, keys: Any, mode: int = 0o600) -> None:
    """Replace the file, as an editor or a deployment does."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(keys if isinstance(keys, bytes) else orjson.dumps(keys))
    draft.chmod(mode)
    draft.replace(path)


def request(key: str) -> Request:
    return Request({"type": "http", "headers": [(b"x-api-key", key.encode())]})


def passes(keyring: Keyring, key: str, role: Role = Role.RECOMMEND) -> bool:
    try:
        keyring.authorise(request(key), role)
    except Unauthorized:
        return False
    return True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    write(path, {FIRST: ["recommend"]})
    return path


@pytest.fixture
def lines() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def keyring(path: Path, lines: io.BytesIO) -> Keyring:
    settings = Settings.model_validate({"api_keys_file": path, "api_keys": {"given-key-of-the-test": ["admin"]}})
    return open_keyring(settings, open_log(lines))


def test_keys_of_the_file_and_of_the_environment_pass(keyring: Keyring) -> None:
    assert passes(keyring, FIRST)
    assert passes(keyring, "given-key-of-the-test", Role.PRIVACY)
    assert not passes(keyring, SECOND)
    assert len(keyring.described()) == 2


def test_a_change_needs_no_restart(keyring: Keyring, path: Path) -> None:
    write(path, {SECOND: ["recommend"]})
    assert passes(keyring, SECOND)
    assert not passes(keyring, FIRST)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"k": "admin"}',
        b'{"short": ["admin"]}',
        b'{"long-enough-for-a-key": ["root"]}',
        b"x" * (1 << 21),
    ],
)
def test_a_broken_file_keeps_the_keys_and_is_logged_once(
    keyring: Keyring, path: Path, lines: io.BytesIO, content: bytes
) -> None:
    write(path, content)
    for _ in range(3):
        assert passes(keyring, FIRST)
    logged = lines.getvalue()
    assert logged.count(b"api_keys_unusable") == 1
    assert not any(key.encode() in logged for key in (FIRST, "short", "long-enough-for-a-key"))
    write(path, {SECOND: ["recommend"]})
    assert passes(keyring, SECOND)


def test_a_file_that_is_gone_or_open_to_others_keeps_the_keys(keyring: Keyring, path: Path, lines: io.BytesIO) -> None:
    write(path, {SECOND: ["recommend"]}, 0o644)
    assert passes(keyring, FIRST)
    assert not passes(keyring, SECOND)
    path.chmod(0o600)
    assert passes(keyring, SECOND)
    path.unlink()
    assert passes(keyring, SECOND)
    assert lines.getvalue().count(b"api_keys_unusable") == 2


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_can_read_or_change_is_refused_at_the_start(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(WrongKey, match=f"chmod 600 {path}"):
        open_keyring(Settings(api_keys_file=path), open_log(io.BytesIO()))


@pytest.mark.parametrize("content", [b"{}", b"{", b'{"a": 1}'])
def test_a_file_without_usable_keys_is_refused_at_the_start(path: Path, content: bytes) -> None:
    write(path, content)
    with pytest.raises(InvalidInput):
        open_keyring(Settings(api_keys_file=path), open_log(io.BytesIO()))
    with pytest.raises(RagRecError, match="cannot be read"):
        open_keyring(Settings(api_keys_file=path.with_name("nothing")), open_log(io.BytesIO()))


def invoke(path: Path | None, *words: str) -> dict[str, Any]:
    environment = {"RAGREC_API_KEYS_FILE": str(path)} if path else {}
    result = CliRunner().invoke(build_app(), ["key", *words, "--json"], env=environment)
    assert result.exit_code == 0, result.stdout
    answer: dict[str, Any] = orjson.loads(result.stdout)
    return answer


def test_a_new_key_goes_into_the_file_and_a_running_service_takes_it(keyring: Keyring, path: Path) -> None:
    made = invoke(path, "new", "--role", "ingest", "--role", "privacy")
    assert passes(keyring, made["key"], Role.PRIVACY)
    assert passes(keyring, FIRST)
    assert path.stat().st_mode & 0o777 == 0o600
    listed = invoke(path, "list")["keys"]
    assert {"fingerprint": made["fingerprint"], "roles": ["ingest", "privacy"]} in listed
    assert made["key"] not in str(listed)


def test_a_new_key_begins_a_file_and_without_one_says_what_to_set(tmp_path: Path) -> None:
    made = invoke(tmp_path / "deep" / "keys.json", "new", "--role", "admin")
    keyring = open_keyring(Settings(api_keys_file=tmp_path / "deep" / "keys.json"), open_log(io.BytesIO()))
    assert passes(keyring, made["key"])
    assert "RAGREC_API_KEYS=" in invoke(None, "new", "--role", "admin")["next"]
