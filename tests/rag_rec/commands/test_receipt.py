from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from rag_rec.commands.receipt import app
from rag_rec.home.keys import open_signer
from rag_rec.identity.signing import Signer
from rag_rec.layers.finding import LayerName, Status
from rag_rec.settings import Settings
from tests.rag_rec.forgetting.records import FINDINGS, accepted, issued

PENDING = [
    replace(each, status=Status.PENDING, until=4000) if each.layer is LayerName.ADAPTER else each for each in FINDINGS
]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    return Settings()


def call(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["receipt", *map(str, arguments), "--json"])
    return result.exit_code, orjson.loads(result.stdout)


def words(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["receipt", *map(str, arguments)])
    assert result.exit_code == code
    return result.stdout


def layers(answer: dict[str, Any]) -> dict[str, str]:
    return {line["layer"]: line["status"] for line in answer["layers"]}


def test_a_receipt_is_shown_saved_and_verified(settings: Settings, tmp_path: Path) -> None:
    text = issued(settings, accepted(settings, "ada"))
    saved = tmp_path / "receipt.json"
    code, shown = call("show", "of-ada", "--to", saved)
    assert code == 0
    assert saved.read_text() == shown["receipt"] == text
    assert (shown["request"], shown["complete"], shown["written"]) == ("of-ada", True, str(saved))
    assert layers(shown) == dict.fromkeys(LayerName, "PROVEN")
    assert {str(line["detail"]) for line in shown["layers"]} == {"{}"}
    code, verdict = call("verify", saved)
    assert code == 0
    assert (verdict["ok"], verdict["complete"], verdict["problems"], verdict["open"]) == (True, True, [], [])
    assert layers(verdict) == layers(shown)


def test_a_receipt_is_verified_with_nothing_but_the_public_key(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, public = tmp_path / "receipt.json", tmp_path / "public.pem"
    saved.write_text(issued(settings, accepted(settings, "ada")) + "\n")  # an editor ends the last line
    code, answer = call("key", "--to", public)
    assert (code, answer["key"], answer["written"]) == (0, open_signer(settings).key_id, str(public))
    assert public.read_text() == answer["public_key"]
    assert call("key") == (0, answer | {"written": None})
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("RAGREC_SIGNING_KEY", "not a key")
    code, verdict = call("verify", saved, "--key", public)
    assert (code, verdict["ok"], verdict["complete"]) == (0, True, True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_receipt_with_an_open_layer_is_valid_and_says_which(settings: Settings, tmp_path: Path) -> None:
    saved = tmp_path / "receipt.json"
    saved.write_text(issued(settings, accepted(settings, "ada"), PENDING))
    code, verdict = call("verify", saved)
    assert (code, verdict["ok"], verdict["complete"], verdict["open"]) == (0, True, False, ["adapter"])
    assert layers(verdict)["adapter"] == "PENDING"


def test_a_changed_receipt_and_another_key_fail(settings: Settings, tmp_path: Path) -> None:
    text = issued(settings, accepted(settings, "ada"))
    saved, public = tmp_path / "receipt.json", tmp_path / "public.pem"
    public.write_text(Signer(b"o" * 32).public_pem)
    saved.write_text(text)
    code, verdict = call("verify", saved, "--key", public)
    assert (code, verdict["ok"], verdict["complete"]) == (1, False, False)
    assert "signed with the key" in verdict["problems"][0]
    saved.write_text(text.replace('"scope":"user"', '"scope":"none"'))
    code, verdict = call("verify", saved)
    assert (code, verdict["ok"], verdict["complete"]) == (1, False, False)
    assert verdict["problems"]
    saved.write_text("nonsense")
    code, verdict = call("verify", saved)
    assert (code, verdict["ok"], verdict["open"]) == (1, False, [layer for layer in LayerName if layer.holds_back])
    assert "layers" not in verdict


def test_words_are_printed_without_json(settings: Settings, tmp_path: Path) -> None:
    measured = [
        replace(each, status=Status.MEASURED, detail={"auc": 0.51}) if each.layer is LayerName.READER else each
        for each in PENDING
    ]
    saved = tmp_path / "receipt.json"
    issued(settings, accepted(settings, "ada"), measured)
    shown = words("show", "of-ada")
    assert "signature" not in shown
    assert "adapter: PENDING until 1970-01-01T00:00:04.000Z. " in shown
    assert "fusion_reader: MEASURED. fusion_reader was looked at. (auc 0.51)" in shown
    assert "store: PROVEN. store was looked at.\n" in shown
    short = words("show", "of-ada", "--to", saved)
    assert "PROVEN" not in short
    assert all(part in short for part in ("of-ada", "adapter (was due 1970-01-01T00:00:04.000Z): ", str(saved)))
    assert "in force: " in short
    assert "what to do: " in shown
    assert "store: PROVEN" in words("verify", saved)


def test_of_an_invalid_receipt_only_what_is_wrong_is_printed(settings: Settings, tmp_path: Path) -> None:
    saved = tmp_path / "receipt.json"
    text = issued(settings, accepted(settings, "ada"))
    for changed in (text.replace('"scope":"user"', '"scope":"none"'), "nonsense"):
        saved.write_text(changed)
        printed = words("verify", saved, code=1)
        assert printed.startswith("valid: no\nproblems: ")
        assert not any(part in printed for part in ("layers", "PROVEN", "open", "LayerName"))


def test_a_request_that_is_not_there_is_told_from_one_without_a_receipt(settings: Settings) -> None:
    accepted(settings, "ada")
    code, answer = call("show", "nothing")
    assert (code, answer["error"]["code"]) == (1, "unknown_request")
    code, answer = call("show", "of-ada")
    assert (code, answer["error"]["code"]) == (1, "not_ready")


def test_files_that_cannot_be_used_are_named(settings: Settings, tmp_path: Path) -> None:
    saved = tmp_path / "receipt.json"
    saved.write_text(issued(settings, accepted(settings, "ada")))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for arguments in (
        ("verify", tmp_path / "nothing"),
        ("verify", binary),
        ("verify", saved, "--key", tmp_path / "nothing"),
        ("key", "--to", tmp_path),
        ("show", "of-ada", "--to", tmp_path / "no" / "folder"),
    ):
        code, answer = call(*arguments)
        assert (code, answer["error"]["code"]) == (1, "invalid_input")
    code, answer = call("verify", saved, "--key", saved)
    assert (code, answer["error"]["code"]) == (1, "wrong_key")


def test_what_was_removed_and_when_is_shown(settings: Settings, tmp_path: Path) -> None:
    saved = tmp_path / "receipt.json"
    issued(settings, accepted(settings, "ada"))
    for shown in (words("show", "of-ada"), words("show", "of-ada", "--to", saved)):
        assert "scope: user\nremoved: 1 user, 1 interaction\n" in shown
        assert "accepted: 1970-01-01T00:00:01.000Z\nissued: 1970-01-01T00:00:03.000Z\n" in shown
        assert "revision: 1\n" in shown
        assert "proof: none made (rag-rec prove of-ada)\n" in shown
        assert "batch" not in shown
    _, answer = call("show", "of-ada")
    assert (answer["removed"], answer["batch"], answer["twin"]) == ({"users": 1, "interactions": 1}, None, None)


def test_the_key_ends_without_an_empty_line(settings: Settings, tmp_path: Path) -> None:
    public = tmp_path / "public.pem"
    issued(settings, accepted(settings, "ada"))
    assert words("key").endswith("-----END PUBLIC KEY-----\n")
    assert words("key", "--to", public).endswith(f"-----END PUBLIC KEY-----\nwritten: {public}\n")
    assert public.read_text().endswith("-----END PUBLIC KEY-----\n")


def test_a_receipt_that_was_laid_out_anew_has_to_be_saved_as_it_was_given(settings: Settings, tmp_path: Path) -> None:
    saved = tmp_path / "receipt.json"
    text = issued(settings, accepted(settings, "ada"))
    saved.write_bytes(orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2))
    assert "save it byte for byte as it was given" in words("verify", saved, code=1)
