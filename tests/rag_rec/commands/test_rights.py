from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from rag_rec.commands.rights import app
from rag_rec.home.keys import open_pseudonyms
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from tests.homes import fill, settings_for
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, log


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    return settings


def call(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    return answer


def words(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "80"}).stdout


def test_a_hold_is_placed_listed_and_released(settings: Settings) -> None:
    subject = open_pseudonyms(settings).user(CANARY)
    assert call("hold", "place", CANARY, "--reason", "case 7") == {"subject": subject, "reason": "case 7"}
    (held,) = call("hold", "list")["holds"]
    assert (held["subject"], held["reason"]) == (subject, "case 7")
    listed = words("hold", "list")
    assert subject in listed
    assert "created: 20" in listed
    assert call("hold", "release", CANARY) == {"released": True}
    assert call("hold", "list") == {"holds": []}
    assert call("hold", "release", CANARY)["error"]["code"] == "unknown_user"


def test_a_forgotten_person_may_come_back(settings: Settings) -> None:
    assert call("consent", CANARY)["error"]["code"] == "unknown_user"
    forget_in(settings, CANARY)
    opened = call("consent", CANARY)
    assert opened["identity"] == 2
    assert opened["since"] > 0
    assert words("consent", CANARY).startswith("identity: 2\nsince: 20")


def test_what_is_stored_about_a_person_is_exported(settings: Settings, tmp_path: Path) -> None:
    document = call("export", CANARY)
    assert document["user"] == {"id": CANARY, "attributes": {}}
    assert len(document["interactions"]) == 6
    store = store_of(settings)
    found = store.user(CANARY)
    assert found is not None
    assert [row["id"] for row in document["interactions"]] == [row.number for row in store.interactions(found[0])]
    store.close()
    printed = words("export", CANARY)
    assert all(f"id: {row['id']}\n" in printed and row["item_id"] in printed for row in document["interactions"])
    assert "1970-07-20T00:00:00.000Z" in printed
    path = tmp_path / "export.json"
    assert call("export", CANARY, "--to", str(path)) == {"interactions": 6, "written": str(path)}
    assert orjson.loads(path.read_bytes()) == document
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("another's")
    again = call("export", CANARY, "--to", str(path))["error"]
    assert (again["code"], again["message"]) == (
        "invalid_input",
        f"{path} exists: name another file, or remove it first.",
    )
    assert path.read_text() == "another's"


@pytest.mark.usefixtures("settings")
def test_an_export_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    assert call("export", "nobody")["error"]["code"] == "unknown_user"
    answer = call("export", CANARY, "--to", str(tmp_path / "no" / "folder"))
    assert answer["error"]["code"] == "invalid_input"
    assert CANARY not in answer["error"]["message"]
