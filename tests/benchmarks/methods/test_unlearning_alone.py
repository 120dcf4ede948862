from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest

from benchmarks.methods.unlearning_alone import Alone
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_newton import Start, stop_of
from rag_rec.compact.adapter import Deltas
from rag_rec.evaluation.audit.attacks import LIKELIHOOD, RMIA
from tests.benchmarks.methods.memorised import a_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def alone(case: Case) -> Alone:
    return Alone(case, 5, stop_of(case, case.members, case.original.deltas))


def test_each_leaves_alone_and_from_the_adapter_that_everybody_is_in(case: Case, alone: Alone) -> None:
    starts = list[Start]()

    def way(start: Start) -> Deltas:
        starts.append(start)
        return start.deltas

    assert len(alone.removed(way, "nothing")) == 5
    gone = [np.setdiff1d(case.members, start.people).tolist() for start in starts]
    assert gone == [[person] for person in case.requests[:5].tolist()]
    for start in starts:
        assert start.stop.windows == stop_of(case, case.members, case.original.deltas).windows
        assert all(each is case.original.deltas[name] for name, each in start.deltas.items())
    alone.removed(way, "nothing")
    assert len(starts) == 5  # what was made is kept


def test_the_original_knows_everybody_and_the_kept_out_hardly_anybody(case: Case, alone: Alone) -> None:
    known = alone.row(alone.told([case.original] * 5))
    never = alone.row(alone.told([case.without[-1]] * 5))
    assert known[f"auc, {RMIA}"] > 0.95
    assert known["nats lost"] == 0.0 < never["nats lost"]
    assert known[f"found at 1 % false alarms, {RMIA}"] > 0.5 > never[f"found at 1 % false alarms, {RMIA}"]
    assert "correlation with retrainings" not in known
    assert never["correlation with retrainings"] > 0.5
    assert never[f"auc, {RMIA}"] < 0.9


def test_a_person_is_held_against_outsiders_under_the_adapter_of_the_person(case: Case, alone: Alone) -> None:
    adapters = [each for _, each in zip(range(5), cycle([case.original, case.without[0]]), strict=False)]
    told = alone.told(adapters)
    for place, made in enumerate(adapters):
        said = alone._watched.likelihood(made)
        outside = said[len(case.requests) :]
        assert told[place].likelihood == said[place]
        assert told[place].below[LIKELIHOOD] == pytest.approx(np.mean([each < said[place] for each in outside]))


def test_fewer_people_are_asked_where_a_group_is_large(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.methods.unlearning_alone.MOST_ASKED", 7)
    few = Alone(replace(case, forgotten=6), 2, stop_of(case, case.members, case.original.deltas))
    told = few.told([case.original] * 2)
    assert {name: len(gains) for name, gains in told[0].gains.items()} == {"retained": 7, "outsiders": 7}
