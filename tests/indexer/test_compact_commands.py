"""``rag-rec compact`` as a person or a script runs it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

import indexer.compact_training
from indexer.commands import app
from tests.embedders import HashEmbedder
from tests.homes import build, fill, settings_for
from tests.indexer.compact_homes import LOG
from tests.rag_rec.commands.asking import printed
from tests.rag_rec.forgetting.asking import forget_in

QUICK = ("--width", "16", "--layers", "1", "--context", "10", "--device", "cpu")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(indexer.compact_training, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    settings = settings_for(tmp_path / "home")
    fill(settings, LOG)
    build(settings)
    return settings.home


run = partial(printed, app, "compact")


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
    expected = {"base": first["base"], "adapter": first["adapter"], "settled": 0}
    assert run("activate", first["adapter"]) == expected
    assert run("list")["adapter"] == first["adapter"]
    assert run("activate", "none") == {**expected, "adapter": None}
    assert len(run("list")["adapters"]) == 2


def test_a_build_settles_what_waits_for_its_adapter(home: Path) -> None:
    run("build", "--epochs", "1", *QUICK)
    forget_in(settings_for(home), "user-3")
    assert run("build", "--epochs", "1", *QUICK)["settled"] == 1


def test_an_adapter_that_saw_a_forgotten_person_is_refused_and_destroyed(home: Path) -> None:
    built = run("build", "--epochs", "1", *QUICK)
    forget_in(settings_for(home), "user-3")
    refused = run("activate", built["adapter"], code=1)["error"]
    assert refused["code"] == "invalid_input"
    assert "adapter retrain" in refused["message"]
    assert run("activate", "none") == {"base": built["base"], "adapter": None, "settled": 1}
    assert run("list")["adapters"] == []


def test_what_cannot_be_activated_or_built_is_said_in_one_object() -> None:
    assert run("activate", "nothing", code=1)["error"]["code"] == "invalid_input"
    assert run("activate", "none", code=1)["error"]["code"] == "not_ready"
    assert run("build", *QUICK, "--context", "9999", code=1)["error"]["code"] == "invalid_input"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run("build", "--device", "cuda", code=1)["error"]["code"] == "invalid_input"
