from __future__ import annotations

import pytest
import torch

from benchmarks.methods.compact_model import Trained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_descents import gap
from benchmarks.methods.unlearning_influence import influence, repaired, trusted
from benchmarks.methods.unlearning_student import Student, batches
from benchmarks.methods.unlearning_teachers import pupil_of
from rag_rec.influence.removal import Effort
from rag_rec.influence.vectors import add, norm
from tests.benchmarks.methods.memorised import a_case

ONE_STEP = Effort(1e-2, 10, careful=False)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def moved(case: Case) -> Trained:
    return influence(case, ONE_STEP, None)


def test_a_step_of_influence_brings_the_forgotten_nearer_to_the_reserve(case: Case, moved: Trained) -> None:
    assert gap(case, moved) < gap(case, case.original)


def test_a_repair_says_to_the_retained_what_the_original_said_as_far_as_the_forgotten_allow(case: Case) -> None:
    far = Effort(1e-4, 15, careful=False)
    moved, mended, taught = influence(case, far, None), repaired(case, far, None), pupil_of(Student(case))
    assert gap(case, moved) < gap(case, mended) <= 0.0
    batch = batches(case, case.retained)[0]
    damage, left = (float(taught(Student(case, start=each), batch)) for each in (moved, mended))
    assert left < damage
    assert mended.seconds > 0.0


def test_a_step_that_goes_too_far_is_shortened(case: Case, moved: Trained) -> None:
    def step(made: Trained) -> dict[str, torch.Tensor]:
        return add(made.deltas, case.original.deltas, -1.0)

    found = step(trusted(case, ONE_STEP, None))
    share = norm(found) / norm(step(moved))
    assert 0.0 < share < 1.0
    assert norm(add(found, step(moved), -share)) < 1e-5 * norm(found)
