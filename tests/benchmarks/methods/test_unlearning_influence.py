from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from benchmarks.methods import unlearning_influence
from benchmarks.methods.compact_model import Trained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_descents import gap
from benchmarks.methods.unlearning_influence import diagonal, influence, product, repaired, trusted
from benchmarks.methods.unlearning_newton import Start, preconditioned, stop_of
from benchmarks.methods.unlearning_student import Student, batches, loss
from benchmarks.methods.unlearning_teachers import pupil_of
from rag_rec.influence.removal import Effort
from rag_rec.influence.vectors import add, norm, scaled
from tests.benchmarks.methods.memorised import a_case

ONE_STEP = Effort(1e-2, 10, careful=False)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def far(case: Case) -> Trained:
    """More is gone than there was to forget."""
    student, batch = Student(case, 1e-2), batches(case, case.gone)[0]
    while gap(case, found := student.trained()) > -1.0:
        student.step(-loss(student, batch))
    return found


def test_a_step_of_influence_brings_the_forgotten_nearer_to_the_reserve(case: Case) -> None:
    assert gap(case, influence(case, ONE_STEP, None)) < gap(case, case.original)


def test_a_repair_goes_towards_the_original_as_far_as_the_forgotten_allow(
    case: Case, far: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlearning_influence, "influence", lambda *_: far)
    mended, taught = repaired(case, ONE_STEP, None), pupil_of(Student(case))
    assert gap(case, far) < gap(case, mended) <= 0.0
    batch = batches(case, case.retained)[0]
    damage, left = (taught(Student(case, start=each), batch).item() for each in (far, mended))
    assert left < damage
    assert mended.seconds > far.seconds


def test_a_step_that_goes_too_far_is_shortened(case: Case, far: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(made: Trained) -> dict[str, torch.Tensor]:
        return add(made.deltas, case.original.deltas, -1.0)

    monkeypatch.setattr(unlearning_influence, "influence", lambda *_: far)
    found = step(trusted(case, ONE_STEP, None))
    share = norm(found) / norm(step(far))
    assert 0.0 < share < 1.0
    assert norm(add(found, step(far), -share)) < 1e-5 * norm(found)


def test_a_step_that_goes_not_too_far_is_taken(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlearning_influence, "influence", lambda *_: case.original)
    found = trusted(case, ONE_STEP, None)
    assert all(torch.equal(found.deltas[name], delta) for name, delta in case.original.deltas.items())


@pytest.mark.parametrize(("way", "strong", "weak"), [(diagonal, 1e-2, 1.0), (product, 1e-2, 1.0)])
def test_the_less_damping_the_more_is_forgotten(
    case: Case, way: Callable[[Case, float], Trained], strong: float, weak: float
) -> None:
    gaps = [gap(case, made) for made in (way(case, strong), way(case, weak), case.original)]
    assert gaps == sorted(gaps)


def test_the_step_of_the_product_is_taken_from_the_original_with_one_over_its_length(case: Case) -> None:
    start = Start(case, case.retained, case.original.deltas, stop_of(case, case.members, case.original.deltas))
    windows = sum(math.ceil(len(items) / case.settings.context) for items in case.of(case.retained))
    steps = case.settings.epochs * math.ceil(windows / case.settings.batch)
    assert start.damping == pytest.approx(4 / 3 / steps)
    expected, step = preconditioned(start, 4 / 3 / steps), add(preconditioned(start), start.deltas, -1.0)
    for found in (product(case), product(case, share=1.0), product(case, 8 / 3 / steps, 0.5)):
        assert norm(add(found.deltas, expected, -1.0)) < 1e-5 * norm(step)


def test_the_step_of_the_product_leaves_the_adapter_as_short_as_its_windows_make_it(case: Case) -> None:
    long, short = product(case, as_long=True).deltas, product(case).deltas
    windows = [
        sum(math.ceil(len(items) / case.settings.context) for items in case.of(people))
        for people in (case.retained, case.members)
    ]
    expected = scaled(long, (windows[0] / windows[1]) ** 0.4)
    assert norm(add(short, expected, -1.0)) < 1e-5 * norm(long)
    assert norm(short) < norm(long)
