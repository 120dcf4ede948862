"""Result files say where each figure came from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks import report
from benchmarks.report import earlier, write_results


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    return tmp_path


def write(monkeypatch: pytest.MonkeyPatch, commit: str, argument: str, **per_dataset: Any) -> Any:
    monkeypatch.setattr(report, "_commit", lambda: commit)
    monkeypatch.setattr(sys, "argv", ["benchmark", argument])
    return orjson.loads(write_results("thing", [], 0, per_dataset).read_bytes())


def test_kept_figures_keep_the_commit_and_command_that_they_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(monkeypatch, "one", "--first", small=[{"name": "a", "gain": [0.1, 0.2]}])
    assert first["runs"] == {"small": {"commit": "one", "command": "python -m benchmarks.thing --first"}}
    kept = earlier("thing", ["small", "large"])
    assert list(kept) == ["small"]
    assert earlier("thing") == kept
    second = write(monkeypatch, "two", "--second", large=[{"name": "b"}], **kept)
    assert second["small"] == first["small"]
    assert second["runs"]["small"] == first["runs"]["small"]
    assert second["runs"]["large"]["commit"] == second["commit"] == "two"
    third = write(monkeypatch, "three", "--third", small=[{"name": "a", "gain": [0.1, 0.3]}])
    assert third["runs"]["small"]["commit"] == "three"


def test_figures_of_a_file_without_runs_came_from_its_own_command(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"commit": "old", "command": "python -m benchmarks.thing", "small": [{"name": "a"}]}
    (results / "thing.json").write_bytes(orjson.dumps(document))
    found = write(monkeypatch, "new", "--more", small=[{"name": "a"}], large=[])
    assert found["runs"]["small"] == {"commit": "old", "command": "python -m benchmarks.thing"}


def test_nothing_is_kept_of_a_file_that_is_not_there() -> None:
    assert earlier("thing", ["small"]) == earlier("thing") == {}
