from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.errors import CorruptIndex
from rag_rec.fairness.control import POPULARITY, Control, Grouping, Strengths
from rag_rec.recommend.gate import METRIC, NOTHING, Gate, discard_gates, gate_path, load_control
from tests.homes import settings_for


def test_a_gate_of_an_earlier_version_is_judged_by_the_rule_of_this_one(tmp_path: Path) -> None:
    """As written on ML-100K: open although the interval includes zero."""
    path = gate_path(tmp_path, "m", "a")
    written = (
        '{"use": true, "weight": 2.764, "model": "m", "adapter": "a", "users": 96, "candidates": 0.1207, "llm": 0.0953,'
        ' "fused": 0.1292, "gain": [-0.0075, 0.0245]}'
    )
    path.write_text(written)
    gate = Gate.load(path)
    assert gate is not None
    assert (gate.use, gate.users, gate.weight) == (False, 96, 2.764)
    path.write_text(written.replace("-0.0075", "0.0005"))
    assert (found := Gate.load(path)) is not None and found.use
    path.write_text('{"use": true, "weight": 1.0, "gain": null}')
    assert (found := Gate.load(path)) is not None and not found.use


def test_a_gate_says_in_words_what_was_measured() -> None:
    gate = Gate(False, 2.0, "m", "a", 96, 0.1207, 0.0953, 0.1292, (-0.0075, 0.0245))
    for part in ("closed", "NDCG@10", "0.1207", "+0.0085", "-0.0075 to +0.0245", "96 people"):
        assert part in gate.words
    assert gate.document()["decision"] == gate.words
    state = gate.state
    assert (state.open, state.metric, state.gain, state.people) == (False, METRIC, gate.gain, 96)
    assert Gate(True, 1.0).words == "open: nothing was measured"


def test_gates_of_what_is_gone_are_discarded(tmp_path: Path) -> None:
    pairs: list[tuple[str, str | None]] = [("base", "old"), ("base", "new"), ("gone", None), ("base", None)]
    for model, adapter in pairs:
        Gate(use=True, weight=1.0, model=model, adapter=adapter).save(gate_path(tmp_path, model, adapter))
    (tmp_path / "damaged.json").write_text("{")
    discard_gates(tmp_path, ["gone"], ["new"])
    assert [gate_path(tmp_path, *pair).exists() for pair in pairs] == [False, True, False, True]
    discard_gates(tmp_path / "nowhere", ["gone"], [])


def test_a_gate_survives_saving(tmp_path: Path) -> None:
    gate = Gate(True, 1.5, "m", None, 96, 0.12, 0.09, 0.13, (0.001, 0.02))
    path = gate_path(tmp_path / "gates", "m", None)
    assert Gate.load(path) is None
    gate.save(path)
    assert Gate.load(path) == gate
    assert gate_path(tmp_path, "m", None) != gate_path(tmp_path, "m", "a")


@pytest.mark.parametrize(
    "content",
    [
        '{"use": true',
        "1",
        '{"use": true, "weight": null, "gain": null}',
        '{"use": true, "weight": -1.0, "gain": null}',
        '{"use": "no", "weight": 1.0, "gain": null}',
    ],
)
def test_a_damaged_gate_says_what_to_do(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gate.json"
    path.write_text(content)
    with pytest.raises(CorruptIndex, match="generator gate"):
        Gate.load(path)


def control() -> Control:
    by = Strengths(Grouping(POPULARITY, ("head", "tail"), (2.0,)), (0.5, 0.0), (0.1, 0.0))
    return Control(("popularity",), 0.01, (by,), {})


def test_a_gate_is_closed_where_the_llm_is_less_fair_beyond_noise(tmp_path: Path) -> None:
    fair = Gate(
        True, 1.5, "m", None, 96, 0.12, 0.09, 0.13, (0.001, 0.02), {"popularity": (0.01, -0.01, 0.03)}, control()
    )
    path = gate_path(tmp_path, "m", None)
    fair.save(path)
    assert Gate.load(path) == fair
    replace(fair, fairness={"popularity": (0.02, 0.01, 0.03)}).save(path)
    found = Gate.load(path)
    assert found is not None and not found.use
    assert "less fair than the candidates' order beyond noise, by popularity" in found.words


def test_a_control_is_of_the_gate_or_of_the_candidates_order_and_of_the_figures_asked_for(tmp_path: Path) -> None:
    settings = settings_for(tmp_path).model_copy(update={"exposure_figures": ["popularity"]})
    gate = Gate(True, 1.5, "m", control=control())
    assert load_control(settings, gate) == control()
    assert load_control(settings, None) is None
    alone = replace(control(), budget=0.02)
    Gate(False, 1.0, NOTHING, control=alone).save(gate_path(settings.gates, NOTHING, None))
    assert load_control(settings, None) == load_control(settings, Gate(True, 1.0, "m")) == alone
    for figures in ([], ["mgu"]):
        assert load_control(settings.model_copy(update={"exposure_figures": figures}), gate) is None


def test_a_damaged_control_is_told(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    path.write_text('{"use": true, "weight": 1.0, "gain": null, "control": {"figures": ["popularity"]}}')
    with pytest.raises(CorruptIndex, match="generator gate"):
        Gate.load(path)
