"""``rag-rec ingest`` as a person or a script runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from indexer.commands import app
from rag_rec.home.keys import open_pseudonyms
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from rag_rec.store import open_store
from tests.rag_rec.commands.asking import detail
from tests.rag_rec.store.erasing import chained, erasure_of


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
    done = run(events, "--format", "csv", "--map", "user_id=who", "--max-rejects", "50%", "--json")
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


ITEMS = "item_id,text\n" + "".join(f"i{n},title {n}\n" for n in range(20))


def ready(tmp_path: Path) -> None:
    items = write(tmp_path / "items.csv", ITEMS)
    assert run(items, "--format", "csv", "--kind", "items").exit_code == 0


@pytest.mark.parametrize(
    ("tolerated", "code"), [([], 1), (["0"], 1), (["1"], 1), (["2"], 0), (["9.9%"], 1), (["10%"], 0)], ids=str
)
@pytest.mark.usefixtures("home")
def test_more_rejected_rows_than_are_tolerated_is_a_failure_and_the_others_are_stored(
    tmp_path: Path, tolerated: list[str], code: int
) -> None:
    ready(tmp_path)
    rows = "".join(f"u,i{n},{n + 1}\n" for n in range(18)) + "somebody,nowhere,1\nsomebody,i1,soon\n"
    events = write(tmp_path / "events.csv", "user_id,item_id,time\n" + rows)
    options = ["--max-rejects", *tolerated] if tolerated else []
    done = run(events, "--format", "csv", *options, "--json")
    result = orjson.loads(done.stdout)
    assert (done.exit_code, result["ok"], result["accepted"], result["rejected"]) == (code, code == 0, 18, 2)
    assert result["stored"] == {"interactions": 18, "positive": 18}
    assert result["first_rejects"] == [
        {"kind": "interactions", "line": 20, "reason": "item_id: is not in the catalogue"},
        {"kind": "interactions", "line": 21, "reason": "time: is neither seconds, milliseconds nor ISO 8601"},
    ]
    assert ("problem" in result) == (code == 1)
    words = run(events, "--format", "csv", *options).stdout
    assert "item_id: is not in the catalogue" in words
    assert "somebody" not in words


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("written", ["", "-1", "101%", "many", "5 %", "1e3", "1.5"])
def test_what_is_no_tolerance_is_refused(tmp_path: Path, written: str) -> None:
    done = run(
        write(tmp_path / "f.csv", ITEMS), "--format", "csv", "--kind", "items", f"--max-rejects={written}", "--json"
    )
    assert done.exit_code == 1
    assert "--max-rejects takes" in orjson.loads(done.stdout)["error"]["message"]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_two_columns_and_a_time_are_positive_interactions(tmp_path: Path, file_format: str) -> None:
    ready(tmp_path)
    table = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["i1", "i2", "i1"], "time": [5, 6, 7]})
    path = tmp_path / f"events.{file_format}"
    if file_format == "csv":
        table.write_csv(path)
    elif file_format == "jsonl":
        table.write_ndjson(path)
    else:
        table.write_parquet(path)
    done = run(path, "--format", file_format, "--json")
    assert orjson.loads(done.stdout)["stored"] == {"interactions": 3, "positive": 3}
    store = store_of(Settings())
    assert list(store.events()) == ["interaction"]
    store.close()


@pytest.mark.usefixtures("home")
def test_an_item_with_neither_text_nor_title_is_rejected_and_a_title_is_a_text(tmp_path: Path) -> None:
    items = write(tmp_path / "items.csv", "item_id,text,title\na,,A title\nb,,\nc,  ,\nd,a text,\n")
    result = orjson.loads(run(items, "--format", "csv", "--kind", "items", "--json").stdout)
    assert [(row["line"], row["reason"]) for row in result["first_rejects"]] == [
        (3, "text: is empty, and there is no title"),
        (4, "text: is empty, and there is no title"),
    ]
    store = store_of(Settings())
    assert [item.text for item in store.items()] == ["A title", "a text"]
    store.close()


@pytest.mark.usefixtures("home")
def test_nothing_positive_is_said_and_no_index_is_built_from_it(tmp_path: Path) -> None:
    ready(tmp_path)
    events = write(tmp_path / "events.csv", "user_id,item_id,time,value\na,i1,5,1\nb,i2,6,3\n")
    result = orjson.loads(run(events, "--format", "csv", "--json").stdout)
    assert result["stored"] == {"interactions": 2, "positive": 0}
    assert "none of the 2 interactions is positive" in result["warning"]
    built = CliRunner().invoke(app, ["index", "build", "--json"])
    assert built.exit_code == 1
    error = orjson.loads(built.stdout)["error"]
    assert error["code"] == "nothing_positive"
    assert "RAGREC_EVENTS" in error["message"]
    assert "every answer will be what is popular" in detail(Settings(), "events")


@pytest.mark.usefixtures("home")
def test_unknown_events_and_ratings_without_a_value_are_rejected_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(tmp_path)
    header = "user_id,item_id,time,event\n"
    events = write(tmp_path / "events.csv", f"{header}a,i1,5,teleport\nb,i2,6,rating\nb,i2,6,remove_from_cart\n")
    done = run(events, "--format", "csv", "--json")
    assert done.exit_code == 1
    result = orjson.loads(done.stdout)
    unknown, valueless = (row["reason"] for row in result["first_rejects"])
    assert "purchase" in unknown
    assert "RAGREC_EVENTS adds one" in unknown
    assert valueless.startswith("value: is missing")
    assert result["stored"] == {"interactions": 1, "positive": 0}
    monkeypatch.setenv("RAGREC_EVENTS", '{"teleport": "positive", "rating": "positive"}')
    result = orjson.loads(run(events, "--format", "csv", "--json").stdout)
    assert (result["accepted"], result["stored"]) == (2, {"interactions": 3, "positive": 2})
    refused = run(events, "--format", "csv", "--event", "nothing we know", "--json")
    assert "RAGREC_EVENTS adds one" in orjson.loads(refused.stdout)["error"]["message"]


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
