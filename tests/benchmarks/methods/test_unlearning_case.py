from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.methods.unlearning_case import Case
from tests.benchmarks.methods.memorised import PEOPLE, a_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


def test_everybody_has_one_part(case: Case) -> None:
    parts = [case.gone, case.retained, case.reserve, case.outsiders]
    assert sorted(np.concatenate(parts).tolist()) == list(range(PEOPLE))
    assert [len(part) for part in parts] == [20, 40, 20, 40]
    assert sorted([*case.gone, *case.retained]) == case.members.tolist()


def test_the_test_answer_is_in_no_history_and_is_not_asked_for(case: Case) -> None:
    for person, (_, whole) in enumerate(case.benchmark.histories):
        assert case.histories[person].tolist() == whole["item"][:-2].tolist()
        assert case.answers[person] == whole["item"][-2]


def test_each_person_was_left_out_of_half_of_the_references(case: Case) -> None:
    saw = np.stack([np.isin(np.arange(PEOPLE), people) for people in case.drawn])
    assert saw.sum(axis=0).tolist() == [2] * PEOPLE


def test_a_training_is_kept_for_the_next_run(case: Case, tmp_path: Path) -> None:
    made = case.original
    again = a_case(case.kept)
    found = again.original
    assert found.seconds == made.seconds
    assert all(torch.equal(found.deltas[name], delta) for name, delta in made.deltas.items())
    assert len(list(case.kept.iterdir())) == 1
    elsewhere = a_case(tmp_path)
    assert elsewhere.trained(case.retained, 0).seconds > 0.0
    assert {each.name for each in tmp_path.iterdir()}.isdisjoint(each.name for each in case.kept.iterdir())


def test_people_keep_the_number_that_they_have_in_the_data(case: Case) -> None:
    known = {user: history["item"].tolist() for user, history in case.benchmark.histories}
    assert [known[user][:-2] for user in case.ids] == [items.tolist() for items in case.histories]


def test_people_who_are_named_go_before_all_others_in_every_draw(case: Case) -> None:
    for seed in range(3):
        named = replace(case, seed=seed, forgotten=3, first=[50, 2, 31])
        assert named.gone.tolist() == [2, 31, 50]
        others = replace(case, seed=seed)._order.tolist()
        assert named._order.tolist()[3:] == [person for person in others if person not in {2, 31, 50}]
