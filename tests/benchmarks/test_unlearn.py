from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

import pytest

from benchmarks import unlearn
from benchmarks.methods.compact_model import Trained
from benchmarks.methods.unlearning_battery import Battery
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_descents import further
from benchmarks.unlearn import EXACT, NO_ADAPTER, NOTHING, RETRAIN, SHORT, Way, case_of, rows_of, summary, table_of
from rag_rec.errors import InvalidInput
from rag_rec.evaluation.audit.battery import OUTSIDERS, RETAINED
from tests.benchmarks.methods.memorised import a_case, a_validation


def refused(_: Case) -> Trained:
    raise InvalidInput("no step came nearer")


def test_rows_tell_accuracy_memory_distance_and_cost(tmp_path: Path) -> None:
    ways: dict[str, Way] = {"further": partial(further, epochs=1), "refused": refused}
    case = a_case(tmp_path)
    rows = list(rows_of(Battery(case, validation=a_validation(case)), ways, ((2, 0), (2, 1))))
    first = [NOTHING, NO_ADAPTER, RETRAIN, "further", "refused", SHORT]
    parts = ["shards, 2 parts", "shards, 2 parts, each asked", "shards, 2 parts, 1 epochs together"]
    assert [row["name"] for row in rows] == [*first, *parts]
    nothing, never, retrained, more, last, short, shards, apart, _ = rows
    assert (nothing["passed"], never["passed"], retrained["passed"]) == (False, False, True)
    assert nothing["cpu s"] == 0.0 < more["cpu s"] < retrained["cpu s"]
    assert never["length"] == 0.0 < retrained["length"] < nothing["length"]
    assert nothing["auc, rmia"] > 0.95
    assert all(
        0.0 <= row[f"ndcg@10 fused, {group}"] <= 1.0 for row in (nothing, short) for group in (RETAINED, OUTSIDERS)
    )
    assert nothing["steps to relearn"] == 0.0 < retrained["steps to relearn"] <= never["steps to relearn"]
    assert last["refused"] == "no step came nearer"
    assert short["passed"] == shards["passed"] == apart["passed"] == EXACT
    assert apart["cpu s"] < shards["cpu s"]
    assert 0.0 < shards["cpu s, 1 at once"] < shards["cpu s, 10 at once"]
    assert retrained["cpu s, 1 at once"] == retrained["cpu s"]


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
    assert summary("a", [{**row, "passed": EXACT} for row in rows])["passed"] == EXACT


def asked(dataset: str = "ml-1m", **others: object) -> Namespace:
    given: dict[str, object] = {"people": None, "cure4rec": None, "forgotten": 0.05, "retrainings": 4, "ways": []}
    return Namespace(dataset=dataset, **{**given, **others})


def test_a_share_of_everybody_is_forgotten_or_a_number_of_people(tmp_path: Path) -> None:
    case = a_case(tmp_path)
    given = [asked(), asked(forgotten=1e-4), asked(people=1), asked(people=7)]
    assert [len(case_of(each, case.benchmark, case.base, 0).gone) for each in given] == [6, 1, 1, 7]


def test_a_set_is_forgotten_as_far_as_its_people_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlearn, "forget_set", lambda name: {"core": [3, 17, 9999]}[name])
    case = a_case(tmp_path)
    made = case_of(asked(cure4rec="core"), case.benchmark, case.base, 1)
    assert made.gone.tolist() == [3, 17]
    assert table_of(asked("ml-100k", cure4rec="core")) == "ml-100k, core of CURE4Rec"


def test_sets_of_another_data_set_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["unlearn", "--dataset", "ml-1m", "--cure4rec", "core"])
    with pytest.raises(SystemExit):
        unlearn._arguments()


def test_a_number_of_people_has_a_table_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, object] = {}
    monkeypatch.setattr(unlearn, "earlier", lambda _: {"ml-1m": ["those of a share"]})
    monkeypatch.setattr(unlearn, "write_results", lambda *found: written.update(found[3]))
    row = {"name": NOTHING, "seed": 0, "passed": False, "p": 1.0, "auc, rmia": 0.9}
    unlearn._write(table_of(asked(people=600)), [row | {"forgotten": 600, "retained": 1, "outsiders": 1}])
    assert list(written) == ["ml-1m", "ml-1m, 600 people"]
    assert table_of(asked()) == "ml-1m"


def test_rows_of_other_ways_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [NOTHING, RETRAIN, "e2urec", "NPO"]
    before = [{"name": name, "draws": [{"name": name, "seed": seed} for seed in range(2)]} for name in names]
    monkeypatch.setattr(unlearn, "earlier", lambda *_: {"ml-1m": before})
    assert unlearn._kept(asked(ways=["e2urec"])) == before[3]["draws"]
    assert unlearn._kept(asked(people=600)) == []
