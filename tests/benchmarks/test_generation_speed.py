from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks import generation_speed, generator_gpu, report
from benchmarks.generator_gpu import MODELS, SHRUNKEN, Architecture, Task, run_local
from benchmarks.methods import json_scores
from benchmarks.rounds import Contender, take_rounds
from rag_rec.generators.protocol import Encoded


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    return tmp_path


def test_rounds_alternate_and_the_median_counts() -> None:
    order: list[str] = []
    contenders = [Contender(name, 10, partial(order.append, name), lambda: {"more": 1}) for name in "ab"]
    take_rounds(contenders, 3)
    assert order == list("abbaab")
    contenders[0].seconds = [5.0, 2.0, 100.0]
    assert contenders[0].row() == {"name": "a", "users_per_s": 2.0, "ms_per_user": 500.0, "rounds": 3, "more": 1}


def test_the_speed_of_generation_is_measured(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CANDIDATES": 6, "EVIDENCE": 2, "ITEM_PROMPTS": 4}.items():
        monkeypatch.setattr(generation_speed, name, value)
    monkeypatch.setattr(json_scores, "MOST_NEW_TOKENS", 8)
    sizes = ["--layers", "1", "--width", "64", "--vocabulary", "600"]
    generation_speed.main(["--users", "2", "--json-users", "1", "--rounds", "1", *sizes])
    rows = _rows(results / "generation_speed.json")
    assert all(row["users_per_s"] > 0 for row in rows.values())
    assert rows["one-pass"]["invalid"] == 0
    asking = rows["json-scores"]
    assert (asking["invalid"], asking["fallbacks"], asking["unreadable_attempts"]) == (1, 1, json_scores.ATTEMPTS)
    assert rows["json-scores, valid at once"]["answer_tokens"] > 6
    for name in ("batches, letters", "batches, item tokens", "one request, item tokens"):
        assert rows[name]["share_of_bare"] > 0


@pytest.mark.parametrize("architecture", MODELS, ids=lambda architecture: architecture.name)
def test_the_arithmetic_counts_the_weights_that_transformers_makes(architecture: Architecture) -> None:
    made: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = made.from_config(architecture.config())
    weights = sum(parameter.numel() for name, parameter in model.named_parameters() if "norm" not in name)
    assert architecture.weights == weights
    in_layers = sum(
        weight.numel() for name, weight in model.named_parameters() if ".layers." in name and "norm" not in name
    )
    assert architecture.weights_of_layers == in_layers


def test_the_arithmetic_of_one_prompt() -> None:
    tiny = Architecture("tiny", width=8, inner=16, layers=2, heads=1, key_value_heads=1)
    per_layer = 8 * 128 * 4 + 3 * 8 * 16  # queries, keys, values and output; gate, up and down
    attention = sum(2 * 2 * 128 * (place + 1) for place in range(1000))  # every token looks back once per layer
    expected = 2 * (2 * per_layer * 1000 + attention) + 2 * 8 * generator_gpu.VOCABULARY
    assert tiny.operations(1000) == pytest.approx(expected, rel=1e-3)


def test_the_code_for_the_gpu_runs_without_one() -> None:
    questions = {count: [Encoded((1, 2, 3), tuple(range(count)))] * 3 for count in (2, 4)}
    speeds = run_local(Task(SHRUNKEN, questions, rounds=1, most_batch=2))
    assert speeds.keys() == {2, 4}
    assert min(speeds.values()) > 0


def test_without_a_gpu_only_the_arithmetic_is_written(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(generator_gpu, "_questions", lambda count, _: [Encoded((1,) * 900, tuple(range(count)))])
    monkeypatch.setattr(generator_gpu, "_measured", lambda *_, **__: [])
    with pytest.raises(SystemExit, match="--dry-run"):
        generator_gpu.main([])
    generator_gpu.main(["--dry-run"])
    rows = _rows(results / "generator_gpu.json")
    assert len(rows) == 8
    for row in rows.values():
        assert not row["measured"]
        assert row["users_per_s"] is row["share_of_ceiling"] is None
        assert row["ceiling_users_per_s"] == pytest.approx(989e12 / (row["gflop_per_user"] * 1e9), rel=0.01)
    assert rows["Qwen3-8B, 50 candidates"]["weights_billion"] == pytest.approx(8.19, abs=0.01)


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(path.read_bytes())["rows"]}
