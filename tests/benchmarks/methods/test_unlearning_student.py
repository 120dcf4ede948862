from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.methods.compact_model import likelihoods, untrained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_student import Student, batches, divergence, endless, loss, targets
from rag_rec.compact.sequences import NO_TARGET
from tests.benchmarks.methods.memorised import a_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


def test_windows_hold_every_choice_of_the_people_once(case: Case) -> None:
    found = sum(int((batch.targets != NO_TARGET).sum()) for batch in batches(case, case.gone))
    assert found == sum(len(targets(batch)) for batch in batches(case, case.gone))
    assert found == sum(len(items) for items in case.of(case.gone))


def test_batches_go_on_with_the_next_epoch(case: Case) -> None:
    found = endless(case, case.gone)
    for epoch in range(3):
        for batch in batches(case, case.gone, epoch):
            assert np.array_equal(next(found).tokens, batch.tokens)


def test_a_student_starts_where_it_is_told_to(case: Case) -> None:
    vocabulary, known, context = case.base.vocabulary, case.of(case.gone), case.settings.context
    original, base = (Student(case, start=start) for start in (None, untrained(case.base)))
    assert np.array_equal(
        original.likelihoods(case.gone), likelihoods(case.original.model(), vocabulary, known, context)
    )
    assert np.array_equal(base.likelihoods(case.gone), likelihoods(case.base.model, vocabulary, known, context))


def test_a_step_descends_and_leaves_the_start_as_it_is(case: Case) -> None:
    before = {name: delta.clone() for name, delta in case.original.deltas.items()}
    student, batch = Student(case, start=untrained(case.base)), batches(case, case.gone)[0]
    first = loss(student, batch)
    student.step(first)
    assert loss(student, batch).item() < first.item()
    made = student.trained()
    assert made.seconds > 0.0
    assert any(bool(delta.any()) for delta in made.deltas.values())
    assert all(torch.equal(case.original.deltas[name], delta) for name, delta in before.items())


def test_the_divergence_is_that_of_the_student_from_the_teacher() -> None:
    taught, said = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    p, q = functional.softmax(taught, dim=1), functional.softmax(said, dim=1)
    assert float(divergence(taught, said)) == pytest.approx(float((p * (p / q).log()).sum(dim=1).mean()), rel=1e-5)
    assert float(divergence(taught, taught)) == pytest.approx(0.0, abs=1e-6)
