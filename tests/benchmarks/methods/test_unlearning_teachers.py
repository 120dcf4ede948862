from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks.methods import unlearning_descents
from benchmarks.methods.compact_model import Trained, untrained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_descents import Watch, gap
from benchmarks.methods.unlearning_student import Student, batches
from benchmarks.methods.unlearning_teachers import bad_teacher, e2urec, lowered, pupil_of
from tests.benchmarks.methods.memorised import a_case

FAST = 1e-2


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


def test_the_forgetting_teacher_lowers_what_rose_and_leaves_what_fell() -> None:
    before, after = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 2.0, 1.0]])
    assert torch.equal(lowered(before, after, 2.0), torch.tensor([[-1.0, 2.0, 3.0]]))


@pytest.mark.parametrize("way", [e2urec, bad_teacher])
def test_teachers_make_the_forgotten_less_likely(
    case: Case, way: Callable[[Case, float], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not become as unlikely as the reserve is here: the original is sure of itself."""
    monkeypatch.setattr(unlearning_descents, "MOST_STEPS", 100)
    made = way(case, FAST)
    assert gap(case, made) < gap(case, case.original) - 0.2
    assert made.seconds > 0.0


def test_the_joint_loss_follows_and_stops_before_the_forgotten_are_likelier(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps = iter([1.0, 0.0, -1.0, -0.5, 1.0])
    looks: list[Trained] = []

    def look(_: Watch, student: Student) -> float:
        looks.append(student.trained())
        return next(gaps)

    monkeypatch.setattr(Watch, "gap", look)
    made = e2urec(case)
    assert len(looks) == 5
    assert all(torch.equal(made.deltas[name], delta) for name, delta in looks[3].deltas.items())


def test_a_pupil_learns_what_its_teacher_says(case: Case) -> None:
    student, batch = Student(case, FAST, untrained(case.base)), batches(case, case.retained)[0]
    pupil = pupil_of(Student(case))
    first = pupil(student, batch).item()
    for _ in range(60):
        student.step(pupil(student, batch))
    assert pupil(student, batch).item() < first / 2
    assert pupil(Student(case), batch).item() == pytest.approx(0.0, abs=1e-5)
