"""``rag-rec compact`` as a person or a script runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

import indexer.compact_commands
from indexer.commands import app
from tests.embedders import HashEmbedder
from tests.homes import build, fill, settings_for
from tests.indexer.compact_homes import LOG

QUICK = ("--width", "16", "--layers", "1", "--context", "10", "--device", "cpu")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(indexer.compact_commands, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    settings = settings_for(tmp_path / "home")
    fill(settings, LOG)
    build(settings)
    return settings.home


def run(*arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, ["compact", *arguments, "--json"])
    assert done.exit_code == code, done.output
    return orjson.loads(done.stdout)


def test_build_list_and_activate() -> None:
    assert run("list") == {"base": None, "adapter": None, "bases": [], "adapters": []}
    first = run("build", "--epochs", "1", "--rank", "4", "--held-out", "0", *QUICK)
    assert {"base", "adapter", "epoch", "items", "users", "interactions", "seconds"} <= first.keys()
    assert (first["rank"], first["vllm_max_lora_rank"], first["epochs"], first["held_out"]) == (4, 8, 1, 0.0)
    assert first["adapter_parameters"] < first["base_parameters"]
    second = run("build", "--epochs", "2", *QUICK)
    assert second["base"] == first["base"]
    listed = run("list")
    assert listed["adapter"] == second["adapter"]
    assert [each["digest"] for each in listed["adapters"]] == [first["adapter"], second["adapter"]]
    assert [each["current"] for each in listed["adapters"]] == [False, True]
    assert run("activate", first["adapter"]) == {"base": first["base"], "adapter": first["adapter"]}
    assert run("list")["adapter"] == first["adapter"]
    assert run("activate", "none") == {"base": first["base"], "adapter": None}


def test_what_cannot_be_activated_or_built_is_said_in_one_object() -> None:
    assert run("activate", "nothing", code=1)["error"]["code"] == "invalid_input"
    assert run("activate", "none", code=1)["error"]["code"] == "not_ready"
    assert run("build", *QUICK, "--context", "9999", code=1)["error"]["code"] == "invalid_input"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run("build", "--device", "cuda", code=1)["error"]["code"] == "invalid_input"
