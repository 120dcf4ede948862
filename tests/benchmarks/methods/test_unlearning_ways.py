from __future__ import annotations

import pytest
import torch

from benchmarks.methods import unlearning_ways
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_ways import ascent, batches, further, gap, influence, negative_preference
from rag_rec.compact.sequences import NO_TARGET
from rag_rec.influence.removal import Effort
from tests.benchmarks.methods.memorised import a_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


def test_windows_hold_every_choice_of_the_people_once(case: Case) -> None:
    found = sum(int((batch.targets != NO_TARGET).sum()) for batch in batches(case, case.gone))
    assert found == sum(len(items) for items in case.of(case.gone))


def test_the_forgotten_gained_more_than_people_who_were_never_in(case: Case) -> None:
    assert gap(case, case.original) > 0.5
    assert abs(gap(case, case.without[0])) < 0.5


def test_a_descent_stops_where_the_forgotten_are_as_likely_as_the_reserve(case: Case) -> None:
    before = {name: delta.clone() for name, delta in case.original.deltas.items()}
    made = negative_preference(case)
    assert gap(case, made) <= 0.0
    assert made.seconds > 0.0
    assert all(torch.equal(case.original.deltas[name], delta) for name, delta in before.items())


def test_a_descent_that_does_not_get_there_ends(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlearning_ways, "MOST_STEPS", 30)
    assert 0.0 < gap(case, ascent(case)) < gap(case, case.original)


def test_a_step_of_influence_brings_the_forgotten_nearer_to_the_reserve(case: Case) -> None:
    made = influence(case, Effort(1e-2, 10, careful=False), None)
    assert gap(case, made) < gap(case, case.original)


def test_further_training_on_the_others_brings_them_nearer_too(case: Case) -> None:
    made = further(case, 5)
    assert gap(case, made) < gap(case, case.original)
