"""A setting that cannot be used is named in one line, whichever it is, and its value is not repeated."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr, ValidationError

from rag_rec.commands.app import main
from rag_rec.events.known import KNOWN
from rag_rec.events.rule import NEGATIVE, POSITIVE, EventRule, Meaning
from rag_rec.settings import Settings
from tests.rag_rec.commands.asking import call

NONSENSE = "}change-me{"
"""No number, no JSON, no word that any setting knows."""


def takes_any_text(name: str) -> bool:
    """Whether a setting is a text, of which only trying it can tell whether it fits."""
    try:
        Settings.model_validate({name: NONSENSE})
    except ValidationError:
        return False
    kinds = {Settings.model_fields[name].annotation, *get_args(Settings.model_fields[name].annotation)}
    assert kinds & {str, Path, SecretStr}, f"RAGREC_{name.upper()} takes nonsense"
    return True


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if not takes_any_text(name)])
@pytest.mark.parametrize("as_json", [False, True])
def test_every_setting_that_cannot_be_used_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, as_json: bool
) -> None:
    monkeypatch.setenv(f"RAGREC_{name.upper()}", NONSENSE)
    assert call(monkeypatch, tmp_path, "doctor", *(["--json"] if as_json else [])) == 1
    printed = capsys.readouterr()
    if as_json:
        error = json.loads(printed.out)["error"]
        assert error["code"] == "invalid_settings"
        message = error["message"]
    else:
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        message = printed.err
    assert f"RAGREC_{name.upper()} cannot be used: " in message
    assert str(Settings.model_fields[name].description) in message
    assert "change-me" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_keys", '{"change-me": "admin"}'),
        ("api_keys", '["change-me"]'),
        ("api_keys", '{"change-me": [["admin"]]}'),
        ("api_keys", '{"change-me": ["boss"]}'),
        ("pseudonym_key", "change-me"),
        ("signing_key", "change-me"),
        ("store_url", "change-me"),
        ("host", "change-me.invalid"),
    ],
)
def test_what_a_command_cannot_use_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv("RAGREC_API_KEYS", json.dumps({secrets.token_urlsafe(32): ["admin"]}))
    call(monkeypatch, tmp_path, "ingest", str(items(tmp_path)), "--format", "csv", "--kind", "items")
    capsys.readouterr()
    monkeypatch.setenv(f"RAGREC_{name.upper()}", value)
    command = "serve" if name in ("api_keys", "host") else "doctor"
    assert call(monkeypatch, tmp_path, command) == 1
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert f"RAGREC_{name.upper()}" in said
    assert "Traceback" not in said
    assert name == "host" or "change-me" not in said


def items(folder: Path) -> Path:
    path = folder / "items.csv"
    path.write_text("item_id,text\ni,title\n")
    return path


@pytest.mark.parametrize("setting", ["RAGREC_API_KEYS=change-me", "RAGREC_GENERATOR_URLS=http://localhost"])
def test_the_program_itself_prints_one_line_and_no_traceback(tmp_path: Path, setting: str) -> None:
    name, _, value = setting.partition("=")
    environment = {**os.environ, "RAGREC_HOME": str(tmp_path), name: value}
    program = [sys.executable, "-c", f"from {main.__module__} import main; main()", "serve"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"{name} cannot be used: is not JSON" in done.stderr
    assert value not in done.stderr


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"RAGREC_{name.upper()}", "")
    assert Settings() == Settings.model_construct()


def test_events_are_known_by_default_added_and_replaced() -> None:
    assert Settings().event_rules == {**KNOWN, "rating": EventRule(means=Meaning.POSITIVE, minimum=4.0)}
    settings = Settings.model_validate(
        {"events": {"test_drive": "positive", "like": "negative", "listened": {"means": "positive", "minimum": 30}}}
    )
    assert settings.event_rules["test_drive"] == POSITIVE
    assert settings.event_rules["like"] == NEGATIVE
    assert settings.event_rules["listened"].minimum == 30


def test_the_older_settings_of_events_still_count() -> None:
    settings = Settings(positive_minimum={"stars": 2.0}, ignored_events=frozenset({"view", "yawned"}))
    assert settings.event_rules["stars"].minimum == 2.0
    assert settings.event_rules["rating"] == POSITIVE
    assert settings.event_rules["view"] == settings.event_rules["yawned"] == NEGATIVE
    assert settings.model_copy(update={"events": {"view": POSITIVE}}).event_rules["view"] == POSITIVE


@pytest.mark.parametrize(
    "rule", ["likes", {"means": "negative", "minimum": 1}, {"minimum": 1}, {"means": "positive", "x": 1}]
)
def test_a_rule_that_makes_no_sense_is_refused(rule: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"events": {"x": rule}})
