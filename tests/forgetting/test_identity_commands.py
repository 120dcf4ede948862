from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from rag_rec.forgetting.identity_commands import app
from rag_rec.keys import open_pseudonyms
from rag_rec.settings import Settings
from tests.forgetting.asking import forget_in
from tests.forgetting.homes import CANARY, log
from tests.homes import fill, settings_for


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    return settings


def call(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    return answer


def test_a_hold_is_placed_listed_and_released(settings: Settings) -> None:
    subject = open_pseudonyms(settings).user(CANARY)
    assert call("hold", "place", CANARY, "--reason", "case 7") == {"subject": subject, "reason": "case 7"}
    (held,) = call("hold", "list")["holds"]
    assert (held["subject"], held["reason"]) == (subject, "case 7")
    assert call("hold", "release", CANARY) == {"released": True}
    assert call("hold", "list") == {"holds": []}
    assert call("hold", "release", CANARY)["error"]["code"] == "unknown_user"


def test_a_forgotten_person_may_come_back(settings: Settings) -> None:
    assert call("consent", CANARY)["error"]["code"] == "unknown_user"
    forget_in(settings, CANARY)
    opened = call("consent", CANARY)
    assert opened["identity"] == 2
    assert opened["since"] > 0
