from __future__ import annotations

import pytest

from benchmarks.methods import unlearning_relearning
from benchmarks.methods.compact_model import untrained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_relearning import steps_to_relearn
from benchmarks.methods.unlearning_student import Student, batches, loss
from tests.benchmarks.methods.memorised import a_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


def test_what_the_original_knows_needs_no_step(case: Case) -> None:
    assert steps_to_relearn(case, case.original) == 0


def test_what_was_never_learned_needs_many_and_what_was_covered_few(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlearning_relearning, "MOST_STEPS", 400)
    student, batch = Student(case, 1e-3), batches(case, case.gone)[0]
    for _ in range(3):
        student.step(-loss(student, batch))
    covered, never = (steps_to_relearn(case, start) for start in (student.trained(), untrained(case.base)))
    assert 0 < covered < 20 < never


def test_it_ends(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlearning_relearning, "MOST_STEPS", 3)
    assert steps_to_relearn(case, untrained(case.base)) == 3
