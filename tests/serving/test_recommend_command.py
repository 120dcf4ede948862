"""``rag-rec recommend`` gives the answer that the service gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from serving.commands import app
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.serving.conftest import Api
from tests.serving.real_service import INTERACTIONS, api, recommend

__all__ = ["api"]  # the fixture


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path))
    monkeypatch.setenv("RAGREC_CANDIDATES", "10")
    monkeypatch.setattr("rag_rec.engine.engine.open_embedder", lambda *_: HashEmbedder())
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["recommend", *arguments], terminal_width=200)


@pytest.mark.parametrize(
    ("user", "options"),
    [
        ("user-1", {}),
        ("user-2", {"k": 3, "strategy": "diversity"}),
        ("user-3", {"filters": "year >= 1995", "strategy": "attention"}),
        ("stranger", {"k": 2}),
    ],
)
def test_the_answer_is_the_same_as_over_http(api: Api, user: str, options: dict[str, Any]) -> None:
    given = [f"--{name}={value}" for name, value in options.items()]
    done = run(user, *given, "--json")
    assert done.exit_code == 0, done.output
    assert orjson.loads(done.stdout) == recommend(api, user, **options)


def test_in_words_it_names_the_items_why_and_whether_the_user_is_known(home: Path) -> None:
    settings = settings_for(home)
    fill(settings, INTERACTIONS)
    build(settings)
    known = run("user-1", "-k", "3")
    assert known.exit_code == 0, known.output
    assert "user: user-1 (known)" in known.stdout
    assert "because" in known.stdout
    assert "rating item-" in known.stdout
    assert any(item.text in known.stdout for item in ITEMS)
    stranger = run("nobody")
    assert stranger.exit_code == 0
    assert "user: nobody (unknown: these are the popular items)" in stranger.stdout


@pytest.mark.parametrize("arguments", [["u", "-k", "0"], ["u\x07"], ["u", "--filters", "year >="], ["u", "-k", "1000"]])
def test_what_the_service_would_refuse_is_refused(home: Path, arguments: list[str]) -> None:
    settings = settings_for(home)
    fill(settings, INTERACTIONS)
    build(settings)
    done = run(*arguments, "--json")
    assert done.exit_code == 1
    assert orjson.loads(done.stdout)["error"]["code"] == "invalid_input"


def test_without_a_system_nothing_is_made(home: Path) -> None:
    done = run("u", "--json")
    assert (done.exit_code, orjson.loads(done.stdout)["error"]["code"]) == (1, "no_system")
    assert not list(home.iterdir())
