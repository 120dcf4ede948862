from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_newton import Start, newton
from benchmarks.methods.unlearning_series import Way
from benchmarks.unlearn_series import NOTHING, RETRAIN, alone_rows, category_rows, collateral_rows, series_rows, summary
from rag_rec.compact.adapter import Deltas
from rag_rec.errors import InvalidInput
from rag_rec.influence.removal import Effort
from tests.benchmarks.methods.memorised import ITEMS, a_case

STEP: dict[str, Way] = {"step": partial(newton, effort=Effort(1e-2, 3))}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    benchmark = a_case(tmp_path_factory.mktemp("none")).benchmark
    texts = [f"item {item} (1990) {('Drama', 'War')[item % 2]}" for item in range(ITEMS)]
    return replace(a_case(tmp_path_factory.mktemp("kept")), benchmark=replace(benchmark, texts=texts))


def test_a_series_has_a_row_for_each_checkpoint_without_the_meter_and_with_it(case: Case) -> None:
    rows = list(series_rows(replace(case, forgotten=3, retrainings=1), STEP, (1, 3, 9)))
    names = ["step, 1 requests", "step, 3 requests"]
    assert [row["name"] for row in rows] == [NOTHING, *names, *(name.replace(",", ", metered,") for name in names)]
    assert [row["requests"] for row in rows] == [3, 1, 3, 1, 3]
    # one in a hundred of sixty is less than one: the meter allows no step
    assert [row.get("trainings") for row in rows] == [
        None,
        None,
        None,
        1,
        3,
    ]
    assert 0.0 < rows[1]["cpu s"] < rows[2]["cpu s"]
    assert "auc, rmia, interval" in rows[2]
    assert "auc, rmia, interval" not in rows[1]


def test_a_step_that_is_refused_ends_the_series(case: Case) -> None:
    def refused(_: Start) -> Deltas:
        raise InvalidInput("it diverged")

    rows = list(series_rows(replace(case, forgotten=3, retrainings=1), {"refused": refused}, (1, 3)))
    assert [row.get("refused") for row in rows] == [None, "it diverged", None, None]


def test_people_who_leave_alone_have_a_row_for_each_way_and_one_that_is_refused(case: Case) -> None:
    def refused(_: Start) -> Deltas:
        raise InvalidInput("it diverged")

    rows = list(alone_rows(case, {**STEP, "refused": refused}, 3))
    assert [row["name"] for row in rows] == [NOTHING, RETRAIN, "step", "refused"]
    assert [row["people"] for row in rows] == [3, 3, 3, 3]
    assert rows[0]["cpu s"] == 0.0 < rows[2]["cpu s"] < rows[1]["cpu s"]
    assert rows[3]["refused"] == "it diverged"


def test_categories_and_collateral_have_a_row_for_each_way(case: Case) -> None:
    for rows in (list(category_rows(case, STEP)), list(collateral_rows(case, STEP))):
        assert [row["name"] for row in rows] == [NOTHING, RETRAIN, "step"]
        assert rows[0]["cpu s"] == 0.0 < rows[2]["cpu s"]


def test_the_summary_keeps_one_draw_and_takes_the_mean_of_several() -> None:
    draws = [{"name": "a", "seed": seed, "auc": 0.5 + seed / 10, "auc, interval": [0.1, 0.9]} for seed in range(3)]
    (alone,), (several,) = summary(draws[:1]), summary([*draws, {"name": "a", "seed": 3, "refused": "no"}])
    assert alone == {"name": "a", "seeds": 1, "auc": 0.5, "auc, interval": [0.1, 0.9]}
    assert (several["seeds"], several["refused"], several["auc"]) == (4, 1, 0.6)
    assert len(several["draws"]) == 4
