from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_newton import Start, stop_of
from benchmarks.methods.unlearning_series import Series, Watched, trained_last, trainings
from indexer.unlearning import Method, Plan
from rag_rec.adapters.folder import AdapterStore
from rag_rec.compact.adapter import Deltas
from rag_rec.evaluation.audit.attacks import LIKELIHOOD, RMIA
from tests.benchmarks.methods.memorised import a_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return replace(a_case(tmp_path_factory.mktemp("kept")), forgotten=6, retrainings=1)


def test_the_meter_is_that_of_the_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spent, people, last = 0, 469, 0
    monkeypatch.setattr("indexer.unlearning._spent", lambda _: (spent, people - last))
    for request in range(1, 201):
        plan = Plan.of(AdapterStore(tmp_path), ["request"], Method.INFLUENCE, 0.01)
        spent += 1
        if plan.method is Method.RETRAIN:
            spent, last = 0, request
        assert trained_last(469, request) == last
    assert [trained_last(469, request) for request in (4, 5, 9, 10)] == [0, 5, 5, 10]
    assert trainings(469, 10) == 2


def test_each_step_starts_from_the_one_before_with_the_gradient_of_those_in_it(case: Case) -> None:
    starts = list[Start]()

    def way(start: Start) -> Deltas:
        starts.append(start)
        return {name: delta + 1.0 for name, delta in start.deltas.items()}

    series = Series(case, way, "one more")
    made = series.after(3)
    assert [len(start.people) for start in starts] == [59, 58, 57]
    assert all(set(one.people) > set(other.people) for one, other in pairwise(starts))
    for name, delta in case.original.deltas.items():
        assert torch.allclose(made.deltas[name], delta + 3.0)
    for gone, start in enumerate(starts):
        left = series.left(gone)
        expected = stop_of(left, left.retained, start.deltas)
        assert start.stop.windows == expected.windows
        assert all(torch.equal(start.stop.gradient[name], each) for name, each in expected.gradient.items())
    series.after(2)
    assert len(starts) == 3  # what was made is kept


def test_after_a_training_steps_begin_anew(case: Case) -> None:
    begun = list[Deltas]()

    def way(start: Start) -> Deltas:
        begun.append(start.deltas)
        return start.deltas

    series = Series(case, way, "anew")
    series.after(3, since=2)
    trained = case.trained(np.setdiff1d(case.members, case.requests[:2]), case.seed)
    assert all(torch.equal(begun[0][name], delta) for name, delta in trained.deltas.items())


def test_attacks_are_on_those_of_the_first_requests(case: Case) -> None:
    watched = Watched(case)
    likelihood = watched.original.copy()
    assert watched.attacks(likelihood, 6)[RMIA].auc > 0.9
    likelihood[2:6] = -100.0
    assert watched.attacks(likelihood, 2)[LIKELIHOOD].auc > 0.9
    assert watched.attacks(likelihood, 6)[LIKELIHOOD].auc < 0.5
    assert watched.gains(case.original, case.retained).shape == (54,)
