"""Only what begins a system makes one: every other command refuses where there is none, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from sqlalchemy import create_engine, inspect, text
from typer.testing import CliRunner

from rag_rec.commands.app import build_app
from rag_rec.errors import IncompatibleStore, NoSystem
from rag_rec.home.opening import existing_store_of, store_of, store_without_keys
from tests.homes import settings_for
from tests.rag_rec.store.conftest import new_database, postgres_server

__all__ = ["postgres_server"]

BEGIN = {"ingest", "restore"}
NEED_NONE = {"openapi", "dataset fetch", "receipt verify", "key list", "key new"}
HASH = "0" * 64
REFUSING = (
    "adapter list",
    "adapter retrain",
    "adapter unlearn",
    "audit adapter",
    "audit fairness",
    "audit list",
    "backup FILE",
    "compact activate none",
    "compact build",
    "compact list",
    "consent ada",
    "debias --dry-run",
    "drill",
    "drill --backup PEOPLE",
    "export ada",
    "export ada --to FILE",
    "forget batch PEOPLE --dry-run",
    f"forget batch PEOPLE --confirm 1 --plan {HASH}",
    f"forget batch PEOPLE --no-report --confirm 1 --plan {HASH}",
    "forget find ada",
    "forget interactions ada --id 1 --dry-run",
    "forget list",
    "forget list --pending",
    "forget resume",
    f"forget status {HASH}",
    "forget user ada",
    "forget user ada --dry-run",
    f"forget user ada --confirm ada --plan {HASH}",
    "generator gate",
    "hold list",
    "hold place ada --reason case",
    "hold release ada",
    "index activate one",
    "index build",
    "index list",
    "index rebuild",
    "index verify",
    "ledger export FILE",
    "ledger verify",
    "place clean",
    "place list",
    "place renew",
    "place retire one --reason gone",
    f"prove {HASH}",
    "receipt key",
    f"receipt show {HASH}",
    "recommend ada",
    "serve --port 0",
)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("RAGREC_API_KEYS", '{"the-key-of-the-test": ["admin"]}')
    (tmp_path / "people.txt").write_text("ada\n")
    return build_app()


def call(app: typer.Typer, line: str) -> tuple[int, dict[str, Any]]:
    arguments = line.replace("FILE", "made").replace("PEOPLE", "people.txt").split()
    done = CliRunner().invoke(app, [*arguments, "--json"])
    return done.exit_code, orjson.loads(done.stdout)


def names(group: Any, before: str = "") -> Iterator[str]:
    """The commands of a group, those of its groups after their names."""
    for name, each in group.commands.items():
        yield from names(each, f"{before}{name} ") if hasattr(each, "commands") else [before + name]


def test_every_command_is_looked_at(app: typer.Typer) -> None:
    there = set(names(typer.main.get_command(app)))
    refusing = {name for name in there for line in REFUSING if f"{line} ".startswith(f"{name} ")}
    assert refusing | BEGIN | NEED_NONE | {"doctor"} == there


@pytest.mark.parametrize("line", REFUSING)
def test_a_command_refuses_where_there_is_no_system(app: typer.Typer, tmp_path: Path, line: str) -> None:
    code, answer = call(app, line)
    assert (code, answer["error"]["code"]) == (1, "no_system")
    home = tmp_path / "elsewhere"
    assert answer["error"]["message"] == (
        f"There is no system at {home} (store.sqlite3 is missing): set RAGREC_HOME, or begin with `rag-rec ingest` or "
        "`rag-rec restore`."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["people.txt"]


def test_the_doctor_says_that_there_is_no_system(app: typer.Typer, tmp_path: Path) -> None:
    code, answer = call(app, "doctor")
    assert (code, [found["part"] for found in answer["findings"]]) == (1, ["store"])
    assert "There is no system at" in answer["findings"][0]["detail"]
    assert not (tmp_path / "elsewhere").exists()


def test_an_ingest_begins_a_system(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"item_id": "one", "text": "first"}\n')
    assert call(app, "ingest items.jsonl --format jsonl --kind items")[0] == 0
    assert call(app, "forget find ada") == (0, {"count": 0, "requests": []})


def test_a_file_without_our_tables_is_no_system(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    path = tmp_path / "store.sqlite3"
    path.touch()
    with pytest.raises(NoSystem, match=r"store\.sqlite3 is empty"):
        existing_store_of(settings)
    assert not path.stat().st_size
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE others (id INTEGER)"))
    engine.dispose()
    with pytest.raises(NoSystem, match=r"store\.sqlite3 has no tables of rag-rec"):
        store_without_keys(settings)
    path.write_bytes(b"no database at all, " * 100)
    with pytest.raises(IncompatibleStore):
        existing_store_of(settings)
    assert not settings.keys.exists()


def test_a_url_is_named_by_its_setting(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, store_url=f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(NoSystem, match=r"where RAGREC_STORE_URL says \(other\.db is missing\): set RAGREC_STORE_URL"):
        existing_store_of(settings)


def test_an_empty_database_of_postgresql_is_no_system(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = new_database(request.getfixturevalue("postgres_server"))
    settings = settings_for(tmp_path / "home", store_url=url)
    with pytest.raises(NoSystem, match="the database has no tables of rag-rec") as refused:
        existing_store_of(settings)
    assert url not in str(refused.value)
    engine = create_engine(url)
    assert not inspect(engine).get_table_names()
    engine.dispose()
    assert not settings.home.exists()
    store_of(settings).close()
    existing_store_of(settings).close()
