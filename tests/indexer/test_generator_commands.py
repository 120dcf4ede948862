"""``rag-rec generator gate`` as a person or a script runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

import indexer.generator_commands
from indexer.commands import app
from indexer.gate import Asked, GateMeasurement, Sample
from rag_rec.domain import Interaction
from rag_rec.recommend.fusion import Trials
from rag_rec.recommend.gate import Gate, gate_path
from rag_rec.settings import Settings
from rag_rec.store import open_store
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.indexer.compact_homes import DAY, LOG, build_compact, trained
from tests.rag_rec.forgetting.asking import forget_in


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(indexer.generator_commands, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    settings = settings_for(tmp_path / "home")
    fill(settings, LOG)
    build(settings)
    return settings


def gate(code: int = 0) -> Any:
    done = CliRunner().invoke(app, ["generator", "gate", "--json"])
    assert done.exit_code == code, done.output
    return orjson.loads(done.stdout)


def test_without_an_llm_it_says_what_to_do() -> None:
    error = gate(code=1)["error"]
    assert error["code"] == "invalid_input"
    assert "rag-rec compact build" in error["message"]


def test_an_adapter_that_learned_everybodys_newest_item_cannot_be_measured(settings: Settings) -> None:
    build_compact(settings, trained(held_out=0.0))
    error = gate(code=1)["error"]
    assert error["code"] == "invalid_input"
    assert "held-out share" in error["message"]


def test_the_sample_is_what_the_adapter_has_not_learned(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build_compact(settings, trained(held_out=0.4, seed=3))
    store = open_store(settings.database_url)
    numbers = {name: found[0] for name in ("user-1", "user-2") if (found := store.user(name))}
    store.append([Interaction("user-1", ITEMS[9].id, 300 * DAY, "like")])
    store.close()
    forget_in(settings, "user-2")
    asked: list[Sample] = []

    def noted(self: GateMeasurement, sample: Sample) -> Asked:  # noqa: ARG001
        asked.append(sample)
        nothing = np.zeros((0, 1))
        return Asked([], nothing.astype(int), Trials(nothing, nothing, np.zeros(0, dtype=int)))

    def decided(trials: Trials, seed: int, model: str, adapter: str | None) -> Gate:  # noqa: ARG001
        return Gate(use=True, weight=2.0, model=model, adapter=adapter)

    monkeypatch.setattr(GateMeasurement, "ask", noted)
    monkeypatch.setattr(indexer.generator_commands, "fit_gate", decided)
    assert gate()["weight"] == 2.0
    assert asked == [Sample(0.4, 3, frozenset(numbers.values()), frozenset([numbers["user-2"]]))]
    kept = Gate.load(gate_path(settings.gates, built.base.digest, built.adapter.digest))
    assert kept is not None and kept.weight == 2.0
