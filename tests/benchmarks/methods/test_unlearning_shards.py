from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.methods.compact_model import Trained, train, untrained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_shards import SCALES, Shards, best_scale, scaled_sum, together, touched_chances
from benchmarks.methods.unlearning_student import Student
from tests.benchmarks.methods.memorised import a_case

PARTS = 3


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Two people leave, so that a shard is left as it is."""
    return replace(a_case(tmp_path_factory.mktemp("kept")), forgotten=2)


@pytest.fixture(scope="module")
def shards(case: Case) -> Shards:
    return Shards(case, PARTS)


def equal(one: Trained, other: Trained) -> bool:
    return all(torch.equal(delta, other.deltas[name]) for name, delta in one.deltas.items())


def test_everybody_is_in_one_shard_and_stays_there_when_others_leave(case: Case, shards: Shards) -> None:
    members, retained = shards.parts(case.members), shards.parts(case.retained)
    assert sorted(np.concatenate(members).tolist()) == case.members.tolist()
    for before, after in zip(members, retained, strict=True):
        assert after.tolist() == [person for person in before.tolist() if person not in case.gone]


def test_only_shards_that_held_a_forgotten_person_are_trained_again(shards: Shards) -> None:
    assert 0 < len(shards.touched) < PARTS
    for place, after in enumerate(shards.after):
        assert equal(shards.before(place), after) == (place not in shards.touched)


def test_every_shard_is_the_training_that_never_saw_the_forgotten(case: Case, shards: Shards) -> None:
    for people, found in zip(shards.parts(case.retained), shards.after, strict=True):
        assert equal(found, train(case.base, case.of(people), replace(case.settings, seed=case.seed)))


def test_what_is_served_is_that_of_a_world_without_the_forgotten(case: Case, shards: Shards, tmp_path: Path) -> None:
    class Without(Case):
        @property
        def members(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
            return case.retained

        gone = np.array([], dtype=np.int64)

    never = Shards(Without(case.benchmark, case.base, 2, 4, 0, case.settings, tmp_path), PARTS)
    assert never.touched == []
    assert equal(never.removed(), shards.removed())
    epochs = (replace(each, together=2).removed() for each in (never, shards))
    assert equal(*epochs)


def test_epochs_together_begin_at_what_the_shards_give(case: Case, shards: Shards) -> None:
    rested = together(replace(case, settings=replace(case.settings, rate=0.0)), shards.removed(), 1)
    assert all(torch.allclose(delta, rested.deltas[name]) for name, delta in shards.removed().deltas.items())
    found = replace(shards, together=2).removed()
    assert not equal(found, shards.removed())
    whole = untrained(case.base)
    again = together(case, whole, case.settings.epochs)
    assert equal(again, train(case.base, case.of(case.retained), replace(case.settings, seed=case.seed)))


def test_the_cost_is_that_of_the_touched_shards(shards: Shards) -> None:
    trained_again = sum(shards.after[place].seconds for place in shards.touched)
    assert trained_again < shards.removed().seconds
    whole = sum(each.seconds for each in shards.after)
    choice = shards.served.seconds
    assert shards.seconds(1) - choice == pytest.approx(whole / PARTS, rel=0.5)
    assert shards.seconds(1) < shards.seconds(2) < shards.seconds(60) == pytest.approx(choice + whole)


def test_a_shard_is_touched_as_often_as_people_of_it_are_drawn() -> None:
    draws, sizes = np.random.default_rng(0), [1, 4, 5]
    places = np.repeat(np.arange(3), sizes)
    drawn = [np.isin(np.arange(3), draws.permutation(places)[:2]) for _ in range(4000)]
    assert touched_chances(sizes, 2) == pytest.approx(np.mean(drawn, axis=0), abs=0.03)


def test_the_sum_of_the_differences_is_scaled(shards: Shards) -> None:
    found = scaled_sum(shards.after, 0.5)
    for name, delta in found.deltas.items():
        assert torch.allclose(delta, 0.5 * torch.stack([each.deltas[name] for each in shards.after]).sum(dim=0))


def test_the_scale_is_the_one_under_which_the_reserve_is_likeliest(case: Case, shards: Shards) -> None:
    def likelihood(scale: float) -> float:
        return float(Student(case, start=scaled_sum(shards.after, scale)).likelihoods(case.reserve).mean())

    found = best_scale(case, shards.after)
    assert likelihood(found) >= max(likelihood(multiple / PARTS) for multiple in SCALES)
    tenfold, tenth = ([scaled_sum([each], factor) for each in shards.after] for factor in (10.0, 0.1))
    assert best_scale(case, tenfold) == SCALES[0] / PARTS
    assert best_scale(case, tenth) == SCALES[-1] / PARTS
