from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.memory_front import DISTILLED, PASSED_ON, PLAIN, WAYS, Draw, Way, draws_of, summary
from benchmarks.methods.distilled_case import DistilledCase, Teaching
from benchmarks.methods.unlearning_case import Case
from rag_rec.evaluation.audit.attacks import LIKELIHOOD, MIN_K
from tests.benchmarks.methods.memorised import a_case, a_validation


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Shorter trainings than elsewhere: here are many."""
    made = a_case(tmp_path_factory.mktemp("kept"))
    return replace(made, settings=replace(made.settings, epochs=25))


def test_rows_tell_accuracy_memory_and_cost(case: Case) -> None:
    ways = {PLAIN: Way(), "short": Way({"epochs": 2}), "rank 1": Way(rank=1), DISTILLED: Way(teaching=Teaching(2))}
    plain, short, cut, distilled = Draw(case, a_validation(case)).rows(ways)
    assert [row["name"] for row in (plain, short, cut, distilled)] == list(ways)
    assert plain["auc, likelihood"] > 0.95 < plain["auc, rmia"]
    assert distilled["auc, likelihood"] < plain["auc, likelihood"] - 0.02
    assert short["auc, likelihood"] < plain["auc, likelihood"] - 0.1
    assert plain["change of ndcg@10"] == 0.0
    for row in (plain, short, cut, distilled):
        assert 0.0 <= row["found at 1 % false alarms, rmia"] <= 1.0
        assert row["fused gain, interval"][0] <= row["fused gain, interval"][1]
    assert short["cpu s"] < plain["cpu s"] < distilled["cpu s"]
    assert cut["cpu s"] == pytest.approx(plain["cpu s"])


def test_without_references_the_other_attacks_are_as_before(case: Case) -> None:
    ways = {PLAIN: Way(), "rank 1": Way(rank=1)}
    known = list(Draw(case).rows(ways))
    found = list(Draw(case, attacks=[LIKELIHOOD, MIN_K]).rows(ways))
    for one, other in zip(found, known, strict=True):
        assert not [name for name in one if "rmia" in name or "calibrated" in name]
        assert one == {name: other[name] for name in one}


def test_a_student_remembers_those_whom_only_its_teacher_saw(case: Case) -> None:
    read, taught = Draw(case).passed_on()
    assert [read["name"], taught["name"]] == list(PASSED_ON)
    assert read["auc, likelihood"] < 0.7
    assert taught["auc, likelihood"] > 0.9


def test_a_way_is_trained_on_the_same_people(case: Case) -> None:
    for name, way in WAYS.items():
        other = way.case(case)
        assert np.array_equal(other.members, case.members), name
        assert all(np.array_equal(one, two) for one, two in zip(other.drawn, case.drawn, strict=True))
        assert isinstance(other, DistilledCase) == ("distil" in name)


def test_the_mean_has_its_draws_beside_it() -> None:
    rows = [
        {"name": PLAIN, "seed": seed, "auc, rmia": 0.5 + seed / 10, "auc, rmia, interval": [0.4, 0.9], "cpu s": 2.0}
        for seed in range(3)
    ]
    (found,) = summary(rows)
    assert (found["name"], found["seeds"], found["cpu s"]) == (PLAIN, 3, 2.0)
    assert (found["auc, rmia"], found["auc, rmia, from"], found["auc, rmia, to"]) == (0.6, 0.5, 0.7)
    assert found["draws"] == rows
    assert "auc, rmia, interval" not in found


def test_a_run_can_keep_the_draws_that_are_there() -> None:
    rows = [{"name": name, "seed": seed, "cpu s": float(seed)} for name in ("rank 8", PLAIN) for seed in (1, 0)]
    found = draws_of(summary(rows))
    assert [(row["seed"], row["name"]) for row in found] == [(0, PLAIN), (0, "rank 8"), (1, PLAIN), (1, "rank 8")]
    assert [row["name"] for row in summary(found)] == [PLAIN, "rank 8"]
