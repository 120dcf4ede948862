from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.methods.compact_model import Trained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_ways import further
from benchmarks.unlearn import NOTHING, RETRAIN, case_of, rows_of, summary
from rag_rec.errors import InvalidInput
from tests.benchmarks.methods.memorised import a_case


def refused(_: Case) -> Trained:
    raise InvalidInput("no step came nearer")


def test_rows_tell_accuracy_memory_distance_and_cost(tmp_path: Path) -> None:
    rows = list(rows_of(a_case(tmp_path), {"further": partial(further, epochs=1), "refused": refused}))
    assert [row["name"] for row in rows] == [NOTHING, RETRAIN, "further", "refused"]
    nothing, retrained, more, last = rows
    assert (nothing["passed"], retrained["passed"]) == (False, True)
    assert nothing["cpu s"] == 0.0 < more["cpu s"] < retrained["cpu s"]
    assert nothing["auc, rmia"] > 0.95
    assert last["refused"] == "no step came nearer"


def test_the_summary_is_the_mean_and_says_how_many_passed() -> None:
    rows = [
        {"name": "a", "seed": seed, "passed": seed == 1, "p": (1.0, 0.01, 0.3)[seed], "auc, rmia": 0.5 + seed / 10}
        for seed in range(3)
    ]
    found = summary("a", [*rows, {"name": "a", "seed": 3, "refused": "no"}])
    assert (found["seeds"], found["refused"], found["passed"], found["nearer"]) == (4, 1, 1, 1)
    assert [draw["seed"] for draw in found["draws"]] == [0, 1, 2, 3]
    assert (found["auc, rmia"], found["auc, rmia, from"], found["auc, rmia, to"]) == (0.6, 0.5, 0.7)
    alone = [{"name": "a", "seed": 0, "refused": "no"}]
    assert summary("a", alone) == {"name": "a", "seeds": 1, "refused": 1, "draws": alone}


def test_a_share_of_everybody_is_forgotten(tmp_path: Path) -> None:
    case = a_case(tmp_path)
    assert len(case_of(case.benchmark, case.base, 0, 0.05, 4).gone) == 6
