from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag_rec.adapters.measured import FILE, Measured, is_approximate, read_measured, write_measured
from rag_rec.layers.finding import LayerName, Status
from tests.rag_rec.adapters.measuring import MEASURED


def test_a_receipt_says_what_was_measured_and_that_it_is_no_proof() -> None:
    found = MEASURED.finding("digest", "the person", 0.02)
    assert (found.layer, found.status, found.until) == (LayerName.ADAPTER, Status.MEASURED, None)
    assert "suppresses the person" in found.why and "not proven" in found.why and "adapter retrain" in found.why
    assert "50 other people" in found.why and "from 40 who were never in" in found.why
    assert "0.780 before, and after it of 0.520 (95 % interval 0.410 to 0.620" in found.why
    assert found.detail == {
        "method": "influence",
        "adapter": "digest",
        "attack": "likelihood",
        "auc_before": 0.78,
        "auc": 0.52,
        "low": 0.41,
        "high": 0.62,
        "stand_ins": 50,
        "reserve": 40,
        "lost_nats": 0.02,
        "gain_before_nats": 0.71,
        "gain_nats": 0.05,
        "removed": 3,
        "budget_left": 6,
    }


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"after": (0.6, 0.51, 0.7)}, "still finds 50 people taken out on trial: AUC 0.600"),
        ({"after": (0.4, 0.3, 0.49)}, "stand out by being too unlikely"),
        ({"lost": (0.2, 0.11, 0.3)}, "0.20 nats less likely"),
    ],
)
def test_a_removal_that_left_something_or_did_damage_has_a_problem(changes: dict[str, Any], why: str) -> None:
    assert MEASURED.problem is None
    problem = replace(MEASURED, **changes).problem
    assert problem is not None and why in problem


def test_within_noise_there_is_no_problem() -> None:
    edges = replace(MEASURED, after=(0.6, 0.5, 0.7), lost=(0.2, 0.1, 0.3))
    assert edges.problem is None


@pytest.mark.parametrize(("share", "left"), [(0.0, 0), (0.005, 0), (0.01, 1), (1.0, 447)])
def test_the_budget_is_a_share_of_the_people_of_the_training(share: float, left: int) -> None:
    assert MEASURED.budget_left(share) == left


def test_it_is_read_back_as_written(tmp_path: Path) -> None:
    assert read_measured(tmp_path) == {}
    assert not is_approximate(tmp_path)
    removals = {"r2": MEASURED, "r1": replace(MEASURED, removed=1)}
    write_measured(tmp_path, removals)
    assert read_measured(tmp_path) == removals
    assert is_approximate(tmp_path)
    assert Measured.parse(MEASURED.text()) == MEASURED


@pytest.mark.parametrize("content", ["{", "[]", '{"r1": {}}', '{"r1": {"before": [1]}}'])
def test_what_is_damaged_is_not_taken_for_a_measurement(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ValueError, match=r".+"):
        read_measured(tmp_path)
