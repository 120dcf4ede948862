"""``rag-rec ingest`` as a person or a script runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from indexer.commands import app
from rag_rec.home import store_of
from rag_rec.keys import open_pseudonyms
from rag_rec.settings import Settings
from rag_rec.store import open_store
from tests.store.erasing import chained, erasure_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("RAGREC_HOME", str(home))
    return home


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["ingest", *map(str, arguments)])


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_items_then_interactions_and_one_json_object_on_stdout(home: Path, tmp_path: Path) -> None:
    items = write(tmp_path / "items.csv", "item_id,text\ni,title\n")
    events = write(tmp_path / "events.csv", "who,item_id,time\nu,i,1\nu,nowhere,2\n")
    assert run(items, "--format", "csv", "--kind", "items", "--json").exit_code == 0
    done = run(events, "--format", "csv", "--map", "user_id=who", "--json")
    assert done.exit_code == 0
    result = orjson.loads(done.stdout)
    assert {name: result[name] for name in ("ok", "accepted", "duplicates", "rejected", "epoch")} == {
        "ok": True,
        "accepted": 1,
        "duplicates": 0,
        "rejected": 1,
        "epoch": 2,
    }
    assert {"seconds", "rows_per_s"} <= result.keys()
    assert result["parts"][0]["rejects"] == str(home / "rejects" / "events.csv.interactions.jsonl")
    assert Path(result["parts"][0]["rejects"]).is_file()
    store = open_store(f"sqlite:///{home / 'store.sqlite3'}")
    assert store.counts().interactions == 1
    store.close()


def test_a_file_about_nobody_but_the_forgotten_is_no_failure(home: Path, tmp_path: Path) -> None:
    items = write(tmp_path / "items.csv", "item_id,text\ni,title\n")
    events = write(tmp_path / "events.csv", "user_id,item_id,time\nu,i,1\nu,i,2\n")
    run(items, "--format", "csv", "--kind", "items")
    run(events, "--format", "csv")
    store = store_of(Settings())
    pseudonyms = open_pseudonyms(Settings())
    store.accept([replace(erasure_of(store, "u"), subject=pseudonyms.user("u"))], chained)
    store.close()
    done = run(events, "--format", "csv", "--json")
    assert done.exit_code == 0
    result = orjson.loads(done.stdout)
    assert {name: result[name] for name in ("ok", "accepted", "duplicates", "suppressed", "rejected")} == {
        "ok": True,
        "accepted": 0,
        "duplicates": 0,
        "suppressed": 2,
        "rejected": 0,
    }
    assert result["parts"][0]["suppressed"] == 2
    assert "suppressed" in run(events, "--format", "csv").stdout
    assert not (home / "rejects").exists()


def test_a_file_without_a_single_good_row_fails(home: Path, tmp_path: Path) -> None:
    events = write(tmp_path / "events.csv", "user_id,item_id,time\nu,nowhere,2\n")
    done = run(events, "--format", "csv", "--json")
    assert done.exit_code == 1
    assert orjson.loads(done.stdout)["rejected"] == 1
    assert home.is_dir()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "arguments", [["absent.csv", "--format", "csv"], [".", "--format", "movielens-1m", "--event", "x"]]
)
def test_an_impossible_command_is_one_json_error(arguments: list[str]) -> None:
    done = run(*arguments, "--json")
    assert done.exit_code == 1
    assert orjson.loads(done.stdout)["error"]["code"] == "invalid_input"
